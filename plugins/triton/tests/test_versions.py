"""Versions of one model: what they share, what is replaced, and what a failure leaves behind."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from triton_support.models import config_of, files, pack, retold, tiny

from segplug.errors import ArtifactError, UsageError
from segplug.model import META_ENTRY, ModelMeta, Provenance


@pytest.fixture(scope="module")
def trained_on(export):
    """The same network with other weights."""
    return export(model=tiny(seed=1), dynamic=True)


@pytest.fixture
def packed(dynamic_labels, repository):
    pack(dynamic_labels, repository, max_batch_size=8, instances=2)
    return repository / "tiny"


def test_a_version_is_added(packed, trained_on):
    before = files(packed)
    config = pack(trained_on, packed.parent, model_version=2)
    assert config.max_batch_size == 8
    assert config.instance_group[0].count == 2
    after = files(packed)
    assert after["1/model.onnx"] == before["1/model.onnx"]
    assert after["2/model.onnx"] == trained_on.path.read_bytes() != after["1/model.onnx"]
    assert set(after) == {"config.pbtxt", "1/model.onnx", "2/model.onnx"}


def test_the_metadata_is_the_newest_versions(packed, dynamic_labels, tmp_path):
    def add(number):
        origin = Provenance(checkpoint=f"{number}.pth")
        artifact = retold(dynamic_labels, tmp_path / f"{number}.onnx", provenance=origin)
        config = pack(artifact, packed.parent, model_version=number)
        return ModelMeta.from_json(config.parameters[META_ENTRY].string_value).provenance.checkpoint

    assert [add(number) for number in (10, 9, 11)] == ["10.pth", "10.pth", "11.pth"]


def test_what_was_edited_stays(packed, trained_on, dynamic_labels):
    file = packed / "config.pbtxt"
    file.write_text("# ours\n" + file.read_text() + "version_policy { all { } }\n")
    (packed / "configs").mkdir()
    (packed / "configs" / "h100.pbtxt").write_text("max_batch_size: 32\n")
    pack(dynamic_labels, packed.parent, model_version=2)  # says just what config.pbtxt says
    assert file.read_text().startswith("# ours\n")
    config = pack(trained_on, packed.parent, model_version=3)
    assert config.version_policy.HasField("all")
    assert (packed / "configs" / "h100.pbtxt").read_text() == "max_batch_size: 32\n"


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"max_batch_size": 8}, True),
        ({"max_batch_size": 4}, False),
        ({"instances": 2}, True),
        ({"instances": 3}, False),
        ({"max_queue_delay": 100}, False),
        ({"preferred_batch_size": (4,)}, False),
        ({"device": "cpu"}, False),
    ],
)
def test_a_setting_that_differs_is_refused(packed, trained_on, given, fits):
    before = files(packed)
    if fits:
        pack(trained_on, packed.parent, model_version=2, **given)
        return
    with pytest.raises(UsageError, match=r"which all versions share \(edit"):
        pack(trained_on, packed.parent, model_version=2, **given)
    assert files(packed) == before


def check_refused(packed, artifact, words):
    before = files(packed)
    with pytest.raises(UsageError, match=words) as caught:
        pack(artifact, packed.parent, model_version=2)
    assert "--model-name" in str(caught.value)
    assert files(packed) == before


def test_another_network_is_no_version(packed, static_logits, export):
    check_refused(packed, static_logits, "other versions take batches")
    logits = export(dynamic=True, output_kind="logits")
    check_refused(packed, logits, "the output is output TYPE_INT64")


@pytest.mark.parametrize(
    "changes", [{"mean": (0.0, 0.0, 0.0)}, {"classes": ("a", "b", "c", "d")}, {"channel_order": "bgr"}]
)
def test_other_preparation_is_no_version(packed, dynamic_labels, tmp_path, changes):
    check_refused(packed, retold(dynamic_labels, tmp_path / "m.onnx", **changes), "images are prepared")


def test_a_version_that_is_there_stays_without_force(packed, trained_on):
    before = files(packed)
    with pytest.raises(UsageError, match=r"1 already exists \(add --force"):
        pack(trained_on, packed.parent)
    assert files(packed) == before


def test_force_replaces_that_version_only(packed, trained_on, dynamic_labels):
    pack(dynamic_labels, packed.parent, model_version=2)
    (packed / "1" / "left over").write_text("x")
    pack(trained_on, packed.parent, model_version=1, force=True)
    after = files(packed)
    assert after["1/model.onnx"] == trained_on.path.read_bytes()
    assert after["2/model.onnx"] == dynamic_labels.path.read_bytes()
    assert "1/left over" not in after


def test_force_on_the_only_version_makes_the_model_anew(packed, static_logits):
    config = pack(static_logits, packed.parent, force=True)
    assert config.max_batch_size == 0
    assert set(files(packed)) == {"config.pbtxt", "1/model.onnx"}


def test_folders_that_triton_ignores_are_no_versions(packed, static_logits):
    (packed / "02").mkdir()
    (packed / "old").mkdir()
    assert pack(static_logits, packed.parent, force=True).max_batch_size == 0


def test_somebody_elses_folder_is_left_alone(dynamic_labels, repository):
    (repository / "tiny").mkdir(parents=True)
    (repository / "tiny" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="no model of a Triton repository"):
        pack(dynamic_labels, repository, force=True)
    assert files(repository) == {"tiny/notes.txt": b"mine"}


def test_a_config_that_is_none(packed, trained_on):
    (packed / "config.pbtxt").write_text("max_batch_size: many")
    with pytest.raises(ArtifactError, match="is no model configuration"):
        pack(trained_on, packed.parent, model_version=2)


def test_the_input_is_not_written_over(packed):
    with pytest.raises(UsageError, match="is an input"):
        pack(packed / "1" / "model.onnx", packed.parent, force=True)


@pytest.mark.parametrize("when", ["copying", "replacing"])
def test_a_failure_in_the_middle_changes_nothing(packed, trained_on, monkeypatch, when):
    pack(trained_on, packed.parent, model_version=2)
    before = files(packed.parent)

    def full(source, target, *args, **kwargs):
        if when == "copying" and str(target).endswith("model.onnx"):
            with open(target, "wb") as file:
                file.write(b"half")
            raise OSError(28, "No space left on device")
        if when == "replacing" and str(source).endswith("/new"):
            raise OSError(5, "Input/output error")
        return real(source, target, *args, **kwargs)

    owner, name = (shutil, "copyfile") if when == "copying" else (os, "replace")
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(ArtifactError, match="cannot write"):
        pack(trained_on, packed.parent, model_version=3)
    with pytest.raises(ArtifactError, match="cannot write"):
        pack(trained_on, packed.parent, model_version=2, force=True)
    monkeypatch.undo()
    assert files(packed.parent) == before
    assert config_of(packed).name == "tiny"
    assert [item.name for item in packed.parent.iterdir()] == ["tiny"]


def test_a_first_version_that_fails_leaves_no_repository(dynamic_labels, repository, monkeypatch):
    def full(source, target, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ArtifactError, match="No space left"):
        pack(dynamic_labels, repository)
    assert not repository.exists()


def test_a_pack_beside_another_is_refused(packed, trained_on, dynamic_labels, monkeypatch):
    """Each keeps what it found of the others: two at once would lose one's version."""
    copying, go_on = Event(), Event()

    def waits(source, target, **kwargs):
        copying.set()
        assert go_on.wait(60)
        return real(source, target, **kwargs)

    real = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", waits)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(pack, trained_on, packed.parent, model_version=2)
        try:
            assert copying.wait(60)
            monkeypatch.undo()
            with pytest.raises(UsageError, match=r"something else is being packed into .*tiny"):
                pack(dynamic_labels, packed.parent, model_version=3)
            pack(dynamic_labels, packed.parent, model_name="other")
        finally:
            go_on.set()
        first.result()
    pack(dynamic_labels, packed.parent, model_version=3)
    assert set(files(packed)) == {"config.pbtxt", "1/model.onnx", "2/model.onnx", "3/model.onnx"}
    assert sorted(item.name for item in packed.parent.iterdir()) == ["other", "tiny"]


def test_what_a_killed_pack_leaves_is_named(packed, trained_on):
    lock = packed.parent / ".tiny.lock"
    lock.touch()
    with pytest.raises(UsageError, match=f"it was killed: rm {lock}"):
        pack(trained_on, packed.parent, model_version=2)
    assert lock.is_file()  # it is another's
    lock.unlink()
    pack(trained_on, packed.parent, model_version=2)
    assert (packed / "2" / "model.onnx").is_file()

"""Versions of one model: what they share, what is replaced, and the effects of failures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import segplug_triton.repository as repository_module
from triton_support.models import config_of, files, pack, tiny, with_metadata

from segplug import Segplug
from segplug.errors import ArtifactError, UsageError
from segplug.model import META_ENTRY, ModelMeta, Provenance
from segplug.preprocessing import Decoding, Flip, usual_steps


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
        artifact = with_metadata(dynamic_labels, tmp_path / f"{number}.onnx", provenance=origin)
        config = pack(artifact, packed.parent, model_version=number)
        return ModelMeta.from_json(config.parameters[META_ENTRY].string_value).provenance.checkpoint

    assert [add(number) for number in (10, 9, 11)] == ["10.pth", "10.pth", "11.pth"]


def test_edits_are_kept(packed, trained_on, dynamic_labels):
    file = packed / "config.pbtxt"
    file.write_text("# ours\n" + file.read_text() + "version_policy { all { } }\n")
    (packed / "configs").mkdir()
    (packed / "configs" / "h100.pbtxt").write_text("max_batch_size: 32\n")
    pack(dynamic_labels, packed.parent, model_version=2)  # config.pbtxt would be the same
    assert file.read_text().startswith("# ours\n")
    config = pack(trained_on, packed.parent, model_version=3)
    assert config.version_policy.HasField("all")
    assert (packed / "configs" / "h100.pbtxt").read_text() == "max_batch_size: 32\n"


@pytest.mark.parametrize("given", [{"max_batch_size": 8}, {"instances": 2}])
def test_a_setting_that_is_the_same_is_accepted(packed, trained_on, given):
    before = config_of(packed)
    config = pack(trained_on, packed.parent, model_version=2, **given)
    assert (config.max_batch_size, config.instance_group) == (before.max_batch_size, before.instance_group)
    assert (packed / "2" / "model.onnx").read_bytes() == trained_on.path.read_bytes()


@pytest.mark.parametrize(
    "given",
    [
        {"max_batch_size": 4},
        {"instances": 3},
        {"max_queue_delay": 100},
        {"preferred_batch_size": (4,)},
        {"device": "cpu"},
    ],
)
def test_a_setting_that_differs_is_refused(packed, trained_on, given):
    before = files(packed)
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


MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"preprocessing": usual_steps((0.0, 0.0, 0.0), STD)}, "preprocessing"),
        ({"preprocessing": usual_steps(MEAN, STD, channel_order="bgr")}, "preprocessing"),
        ({"decoding": Decoding(color="unchanged")}, "decoding"),
        ({"classes": ("a", "b", "c", "d")}, "classes"),
        ({"scores": "probabilities"}, "scores"),
        ({"output_stride": 4}, "output_stride"),
        ({"output_size": (32, 48)}, "output_size"),
        ({"output_antialias": True}, "output_antialias"),
        ({"in_channels": 4, "preprocessing": ()}, "in_channels, preprocessing"),
    ],
)
def test_other_metadata_is_no_version(packed, dynamic_labels, tmp_path, changes, named):
    other = with_metadata(dynamic_labels, tmp_path / "m.onnx", **changes)
    check_refused(packed, other, rf"their metadata differ \(segplug\.meta\): {named}( |$)")


def test_what_clients_do_not_compute_with_may_differ(packed, dynamic_labels, tmp_path):
    steps = dynamic_labels.meta.preprocessing
    changes = {"name": "other", "tta": (steps, (*steps, Flip())), "approximations": ("no blur",)}
    other = with_metadata(dynamic_labels, tmp_path / "m.onnx", **changes)
    pack(other, packed.parent, model_name="tiny", model_version=2)
    assert Segplug().read_meta(packed).approximations == ("no blur",)


def test_metadata_that_one_of_them_lacks(packed, dynamic_labels, tmp_path):
    model = onnx.load(str(dynamic_labels.path))
    del model.metadata_props[:]
    onnx.save(model, str(tmp_path / "tiny.onnx"))
    check_refused(packed, tmp_path / "tiny.onnx", "only one of them has any")


def test_an_existing_version_is_not_replaced_without_force(packed, trained_on):
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


def test_force_on_the_only_version_writes_a_new_config(packed, static_logits):
    config = pack(static_logits, packed.parent, force=True)
    assert config.max_batch_size == 0
    assert set(files(packed)) == {"config.pbtxt", "1/model.onnx"}


def test_folders_that_triton_ignores_are_no_versions(packed, static_logits):
    (packed / "02").mkdir()
    (packed / "old").mkdir()
    assert pack(static_logits, packed.parent, force=True).max_batch_size == 0


def test_a_folder_that_is_not_a_model_is_not_touched(dynamic_labels, repository):
    (repository / "tiny").mkdir(parents=True)
    (repository / "tiny" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a model of a Triton repository"):
        pack(dynamic_labels, repository, force=True)
    assert files(repository) == {"tiny/notes.txt": b"mine"}


def test_an_invalid_config(packed, trained_on):
    (packed / "config.pbtxt").write_text("max_batch_size: many")
    with pytest.raises(ArtifactError, match="is not a model configuration"):
        pack(trained_on, packed.parent, model_version=2)


def test_the_input_is_not_overwritten(packed):
    with pytest.raises(UsageError, match="is the input"):
        pack(packed / "1" / "model.onnx", packed.parent, force=True)


def test_the_weights_of_the_input_are_not_overwritten(packed, dynamic_labels):
    place = {"save_as_external_data": True, "location": "1/weights", "size_threshold": 0}
    onnx.save_model(onnx.load(dynamic_labels.path), packed / "large.onnx", **place)
    before = files(packed)
    with pytest.raises(UsageError, match="1/weights is the input"):
        pack(packed / "large.onnx", packed.parent, force=True)
    assert files(packed) == before


@pytest.mark.parametrize("when", ["copying", "placing"])
def test_a_failure_in_the_middle_changes_nothing(packed, trained_on, monkeypatch, when):
    pack(trained_on, packed.parent, model_version=2)
    before = files(packed.parent)

    def full(source, target, *args, **kwargs):
        if when == "copying":
            Path(target).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        if ".segplug-writing" in str(source) and Path(source).parent.name == "tiny":
            raise OSError(5, "Input/output error")
        return real(source, target, *args, **kwargs)

    owner, name = (repository_module, "copy_regular") if when == "copying" else (os, "replace")
    real = getattr(owner, name)
    monkeypatch.setattr(owner, name, full)
    words = "cannot copy .*No space left" if when == "copying" else "cannot write .*Input/output"
    with pytest.raises(ArtifactError, match=words):
        pack(trained_on, packed.parent, model_version=3)
    with pytest.raises(ArtifactError, match=words):
        pack(trained_on, packed.parent, model_version=2, force=True)
    monkeypatch.undo()
    assert files(packed.parent) == before
    assert config_of(packed).name == "tiny"
    assert [item.name for item in packed.parent.iterdir()] == ["tiny"]


def test_a_first_version_that_fails_leaves_no_repository(dynamic_labels, repository, monkeypatch):
    def full(source, target, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(repository_module, "copy_regular", full)
    with pytest.raises(ArtifactError, match="No space left"):
        pack(dynamic_labels, repository)
    assert not repository.exists()


PACKING = """
import sys, time
from pathlib import Path

import onnxruntime
import segplug_triton.repository as repository_module
import tritonclient.grpc.model_config_pb2
from segplug import Segplug

artifact, repository, version, other = sys.argv[1:]
copy = repository_module.copy_regular

def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while not Path(path).exists() and time.monotonic() < end:
        time.sleep(0.02)
    return Path(path).exists()

def together(source, target):
    Path(f"{repository}.{version}.copies").touch()
    both = wait_for(f"{repository}.{other}.copies", seconds=5)  # never, if the other one waits for this one
    if both and version == "1":
        wait_for(f"{repository}/tiny/config.pbtxt")
    copy(source, target)

repository_module.copy_regular = together
Path(f"{repository}.{version}.started").touch()
assert wait_for(f"{repository}.{other}.started")
Segplug().pack("triton", artifact, folder=repository, model_version=int(version))
"""


@pytest.mark.slow
def test_two_processes_pack_two_versions_at_once(dynamic_labels, repository, tmp_path):
    """Both get there, and the configuration is the newest version's, although both saw no model at first."""
    repository.mkdir()
    processes = []
    for version, other in (("2", "1"), ("1", "2")):
        origin = Provenance(checkpoint=f"{version}.pth")
        artifact = with_metadata(dynamic_labels, tmp_path / f"{version}.onnx", provenance=origin)
        words = [sys.executable, "-c", PACKING, str(artifact), str(repository), version, other]
        processes.append(subprocess.Popen(words, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert set(files(repository)) == {"tiny/config.pbtxt", "tiny/1/model.onnx", "tiny/2/model.onnx"}
    meta = Segplug().read_meta(repository / "tiny")
    assert meta.provenance.checkpoint == "2.pth"


def test_the_metadata_of_a_packed_model_is_read(packed, dynamic_labels):
    assert Segplug().read_meta(packed) == dynamic_labels.meta.public()
    config = packed / "config.pbtxt"
    config.write_text(re.sub(r"parameters \{.*^\}\n", "", config.read_text(), flags=re.DOTALL | re.MULTILINE))
    assert Segplug().read_meta(packed) is None
    config.write_text(config.read_text() + 'parameters { key: "segplug.meta" value { string_value: "{" } }\n')
    with pytest.raises(ArtifactError, match=r"tiny.config\.pbtxt: "):
        Segplug().read_meta(packed)
    config.unlink()
    assert Segplug().read_meta(packed) is None

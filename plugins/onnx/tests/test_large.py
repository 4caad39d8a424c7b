"""Models too large for one ONNX file: the weights are a part of the artifact, in a file beside it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import segplug_onnx.writer as writer

from segplug import Segplug
from segplug.artifact import combined_sha256
from segplug.errors import ArtifactError, UsageError
from segplug.progress import QuietReporter

PARTS = ("m.onnx", "m.onnx.data")


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch):
    monkeypatch.setattr(writer, "LARGEST_FILE", 1000)


@pytest.fixture
def newer(model_of):
    """A model whose weights are not those of ``tiny``."""
    model = model_of()
    for parameter in model.module.parameters():
        parameter.data.mul_(-2)
    return model


def full(*_):
    raise OSError(28, "No space left on device")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def logits(path, batch):
    with Segplug().open(path, backend="onnxruntime", threads=1, want_logits=True) as engine:
        return engine.run(batch)


def test_the_weights_lie_beside_the_model(export, tiny, tmp_path, images, logits_of):
    reporter = QuietReporter()
    artifact = export(tiny, tmp_path / "m.onnx", reporter=reporter, output_kind="labels")
    assert sorted(contents(tmp_path)) == list(PARTS)
    assert f"they are in {tmp_path / 'm.onnx.data'}, which must stay beside" in reporter.warnings[0]
    onnx.checker.check_model(str(artifact.path), full_check=True)
    batch = images(1, 32, 48)
    np.testing.assert_allclose(logits(artifact.path, batch), logits_of(tiny, batch), atol=1e-5)
    with Segplug().open(artifact, backend="onnxruntime", threads=1) as engine:
        assert np.array_equal(engine.run(batch), logits_of(tiny, batch).argmax(1))


def test_both_parts_are_replaced_together(export, tiny, newer, tmp_path, images, logits_of):
    path = tmp_path / "m.onnx"
    export(tiny, path)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="already exists"):
        export(newer, path)
    assert contents(tmp_path) == before
    artifact = export(newer, path, force=True)
    after = contents(tmp_path)
    assert sorted(after) == list(PARTS)
    assert after["m.onnx.data"] != before["m.onnx.data"]
    batch = images(1, 32, 48)
    np.testing.assert_allclose(logits(path, batch), logits_of(newer, batch), atol=1e-5)
    assert (artifact.path, artifact.files) == (path, PARTS)
    assert artifact.size == sum(map(len, after.values()))
    assert artifact.sha256 == combined_sha256(tmp_path, PARTS)
    (tmp_path / "other.onnx").touch()
    artifact.discard()
    assert sorted(contents(tmp_path)) == ["other.onnx"]


@pytest.mark.parametrize("step", ["_append", "_write"])
def test_a_full_disk_leaves_both_older_parts(export, tiny, newer, tmp_path, monkeypatch, step):
    path = tmp_path / "m.onnx"
    export(tiny, path)
    before = contents(tmp_path)
    monkeypatch.setattr(writer, step, full)
    with pytest.raises(ArtifactError, match=r"cannot write .*m\.onnx: No space left on device"):
        export(newer, path, force=True)
    assert contents(tmp_path) == before


def test_a_model_in_one_file_takes_the_older_weights_away(export, tiny, tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    export(tiny, path)
    monkeypatch.undo()
    artifact = export(tiny, path, force=True)
    assert artifact.files == ("m.onnx",)
    assert sorted(contents(tmp_path)) == ["m.onnx"]


def test_a_file_of_that_name_is_not_replaced_without_force(export, tiny, tmp_path):
    (tmp_path / "m.onnx.data").write_text("mine")
    with pytest.raises(UsageError, match=r"m\.onnx\.data already exists"):
        export(tiny, tmp_path / "m.onnx")
    assert contents(tmp_path) == {"m.onnx.data": b"mine"}


def test_a_verified_model_keeps_its_parts(export, tiny, tmp_path):
    path = tmp_path / "m.onnx"
    artifact = export(tiny, path, verify=True)
    assert artifact.meta.verification["passed"]
    assert Segplug().read_meta(path) == artifact.meta
    assert artifact.files == PARTS
    assert artifact.sha256 == combined_sha256(tmp_path, PARTS)
    assert sorted(contents(tmp_path)) == list(PARTS)

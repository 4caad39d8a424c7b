"""Artifacts are described by their content, and their metadata lies beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from segplug import artifact
from segplug.errors import ArtifactError
from segplug.model import ModelMeta
from segplug.results import Artifact


def test_the_sidecar_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "m.engine"
    meta = ModelMeta(name="m", classes=("a", "b"), palette=((1, 2, 3), (4, 5, 6)), input_size=(4, 6))
    assert artifact.read_sidecar(path) is None
    artifact.write_sidecar(path, meta)
    assert artifact.read_sidecar(path) == meta


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'{"schema_version": 2, "name": "m", "in_channels": "3"}',
            " is wrong at in_channels: a whole number",
        ),
        (
            b'{"schema_version": 1, "name": "m", "mean": [0, "1", 2]}',
            ", preprocessing[1] is wrong at mean[1]: a finite number",
        ),
        (b'{"schema_version": 1, "name": "m"', " is no JSON: Expecting"),
        (b'{"name": "\xff"}', " is not UTF-8 text: "),
        (None, " cannot be read: "),
    ],
    ids=["a wrong value", "a wrong value of an older schema", "cut", "another encoding", "a folder"],
)
def test_a_damaged_sidecar_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    sidecar = artifact.sidecar_path(tmp_path / "m.engine")
    if content is None:
        sidecar.mkdir()
    else:
        sidecar.write_bytes(content)
    with pytest.raises(ArtifactError) as raised:
        artifact.read_sidecar(tmp_path / "m.engine")
    assert str(raised.value).startswith(f"{sidecar}: the model metadata{message}")


def test_a_newer_sidecar_keeps_its_hint(tmp_path: Path) -> None:
    artifact.sidecar_path(tmp_path / "m.engine").write_text('{"schema_version": 999}')
    with pytest.raises(ArtifactError, match=r"m\.engine\.json: .* schema 999") as raised:
        artifact.read_sidecar(tmp_path / "m.engine")
    assert raised.value.hint == "upgrade segplug"


def test_a_folder_is_described_by_its_files(tmp_path: Path) -> None:
    for name, content in (("a", b"12"), ("b", b"345")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(content)
    meta = ModelMeta(name="m")
    made = Artifact(path=tmp_path / "a", format="toy", meta=meta)
    whole = artifact.completed(made, ["a/f", "b/f"])
    assert (whole.files, whole.size) == (("a/f", "b/f"), 5)
    (tmp_path / "b").rename(tmp_path / "c")
    assert artifact.completed(made, ["a/f", "c/f"]).sha256 != whole.sha256


def test_the_hash_of_weights_in_several_files_is_of_all(tmp_path: Path) -> None:
    alone, index = tmp_path / "model.safetensors", tmp_path / "model.safetensors.index.json"
    alone.write_bytes(b"weights")
    assert artifact.weights_sha256(alone) == artifact.file_sha256(alone)
    index.write_text('{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}')
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"weights")
    before = artifact.weights_sha256(index)
    (tmp_path / "two.safetensors").write_bytes(b"others")
    assert artifact.weights_sha256(index) != before

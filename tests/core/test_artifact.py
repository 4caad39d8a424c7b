"""An artifact is written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from segplug import artifact
from segplug.errors import ArtifactError, UsageError
from segplug.model import ModelMeta


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with artifact.writing(path, force=False) as temporary:
        temporary.write_bytes(b"abc")
        assert temporary.suffix == ".onnx"
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert names(tmp_path) == ["m.onnx"]


def test_an_exception_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), artifact.writing(path, force=True) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["m.onnx"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(ArtifactError, match="No space left on device"), artifact.writing(path, force=False):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="--force"), artifact.writing(path, force=False):
        pass
    with artifact.writing(path, force=True) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_a_link_that_leads_nowhere_is_there(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="already exists"):
        artifact.ensure_free(path, force=False)
    with artifact.writing(path, force=True) as temporary:
        temporary.write_bytes(b"new")
    assert not path.is_symlink()
    assert names(tmp_path) == ["m.onnx"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(UsageError, match="already exists"), artifact.writing(path, force=False) as temporary:
        temporary.write_bytes(b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="mkdir -p"),
        artifact.writing(tmp_path / "no" / "m.onnx", force=False),
    ):
        pass


def test_the_sidecar_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "m.engine"
    meta = ModelMeta(name="m", classes=("a", "b"), palette=((1, 2, 3), (4, 5, 6)), input_size=(4, 6))
    assert artifact.read_sidecar(path) is None
    artifact.write_sidecar(path, meta)
    assert artifact.read_sidecar(path) == meta


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"precious")
    link = tmp_path / "link.onnx"
    link.symlink_to(weights)
    for output in (weights, link, tmp_path / "." / "w.pth"):
        with pytest.raises(UsageError, match="is an input"):
            artifact.refuse_input(output, [None, "config.py", weights])
    artifact.refuse_input(tmp_path / "m.onnx", [weights])


def test_the_files_of_an_index_are_inputs(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"w": "part.safetensors"}}')
    part = tmp_path / "part.safetensors"
    part.write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"part\.safetensors is an input"):
        artifact.refuse_input(part, [index])
    artifact.refuse_input(tmp_path / "other.pth", [index])
    index.write_text("no index")
    artifact.refuse_input(part, [index])

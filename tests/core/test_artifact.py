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


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with artifact.writing_folder(path, force=False) as temporary:
        (temporary / "1").mkdir()
        (temporary / "1" / "model.onnx").write_bytes(b"abc")
        assert not path.exists()
    assert (path / "1" / "model.onnx").read_bytes() == b"abc"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("error", [RuntimeError("x"), OSError(errno.ENOSPC, "No space left on device")])
def test_a_failure_keeps_the_old_folder(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_bytes(b"old")
    with pytest.raises((RuntimeError, ArtifactError)), artifact.writing_folder(path, force=True) as temporary:
        (temporary / "half").write_bytes(b"half")
        raise error
    assert names(tmp_path) == ["model"]
    assert names(path) == ["old"]


def test_force_replaces_a_folder_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_bytes(b"old")
    with pytest.raises(UsageError, match="--force"), artifact.writing_folder(path, force=False):
        pass
    with artifact.writing_folder(path, force=True) as temporary:
        (temporary / "new").write_bytes(b"new")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["model"]


def test_a_folder_is_not_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"x")
    with (
        pytest.raises(UsageError, match="not a folder"),
        artifact.writing_folder(tmp_path / "model", force=True),
    ):
        pass


def test_a_made_folder_goes_again_if_nothing_came_of_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), artifact.made_folder(tmp_path / "store"):
        raise RuntimeError
    assert names(tmp_path) == []
    with artifact.made_folder(tmp_path / "store"):
        pass
    with pytest.raises(RuntimeError), artifact.made_folder(tmp_path / "store"):
        raise RuntimeError
    assert names(tmp_path) == ["store"]


def test_a_folder_is_described_by_its_files(tmp_path: Path) -> None:
    for name, content in (("a", b"12"), ("b", b"345")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(content)
    meta = ModelMeta(name="m")
    whole = artifact.describe(tmp_path, format="triton", meta=meta)
    assert whole.size == 5
    (tmp_path / "a").rename(tmp_path / "c")
    assert artifact.describe(tmp_path, format="triton", meta=meta).sha256 != whole.sha256

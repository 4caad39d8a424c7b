"""Files and folders are written whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from segplug import files
from segplug.errors import ArtifactError, UsageError
from segplug.temporary import temporary_name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with files.writing(path, force=False) as temporary:
        temporary.write_bytes(b"abc")
        assert temporary.suffix == ".onnx"
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert names(tmp_path) == ["m.onnx"]


def test_an_exception_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), files.writing(path, force=True) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["m.onnx"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(ArtifactError, match="No space left on device"), files.writing(path, force=False):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match="--force"), files.writing(path, force=False):
        pass
    with files.writing(path, force=True) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_a_link_that_leads_nowhere_is_there(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="already exists"):
        files.ensure_free(path, force=False)
    with files.writing(path, force=True) as temporary:
        temporary.write_bytes(b"new")
    assert not path.is_symlink()
    assert names(tmp_path) == ["m.onnx"]


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(UsageError, match="already exists"), files.writing(path, force=False) as temporary:
        temporary.write_bytes(b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"


def test_a_missing_folder_is_made_and_stays_only_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "m.onnx"
    with pytest.raises(RuntimeError), files.writing(path, force=False) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert names(tmp_path) == []
    with files.writing(path, force=False) as temporary:
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"


def test_a_folder_that_cannot_be_made_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for parent in ("link", "link/deep"):
        with pytest.raises(UsageError, match=r"cannot be made: .*link is no folder"):
            files.ensure_free(tmp_path / parent / "m.onnx", force=False)
    for parent in ("file", "file/deep"):
        with pytest.raises(UsageError, match=r"Not a directory"):
            files.ensure_free(tmp_path / parent / "m.onnx", force=False)


def test_an_input_is_never_an_output(tmp_path: Path) -> None:
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"precious")
    link = tmp_path / "link.onnx"
    link.symlink_to(weights)
    for output in (weights, link, tmp_path / "." / "w.pth"):
        with pytest.raises(UsageError, match="is an input"):
            files.refuse_input(output, [None, "config.py", weights])
    files.refuse_input(tmp_path / "m.onnx", [weights])


def test_the_files_of_an_index_are_inputs(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"w": "part.safetensors"}}')
    part = tmp_path / "part.safetensors"
    part.write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"part\.safetensors is an input"):
        files.refuse_input(part, [index])
    files.refuse_input(tmp_path / "other.pth", [index])
    index.write_text("no index")
    files.refuse_input(part, [index])


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with files.writing_folder(path, force=False) as temporary:
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
    with pytest.raises((RuntimeError, ArtifactError)), files.writing_folder(path, force=True) as temporary:
        (temporary / "half").write_bytes(b"half")
        raise error
    assert names(tmp_path) == ["model"]
    assert names(path) == ["old"]


def test_force_replaces_a_folder_whole(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_bytes(b"old")
    with pytest.raises(UsageError, match="--force"), files.writing_folder(path, force=False):
        pass
    with files.writing_folder(path, force=True) as temporary:
        (temporary / "new").write_bytes(b"new")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["model"]


def test_a_folder_is_not_written_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"x")
    with (
        pytest.raises(UsageError, match="not a folder"),
        files.writing_folder(tmp_path / "model", force=True),
    ):
        pass


def test_a_new_folder_is_removed_if_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.making_folder(tmp_path / "store"):
        raise RuntimeError
    assert names(tmp_path) == []
    with files.making_folder(tmp_path / "store"):
        pass
    with pytest.raises(RuntimeError), files.making_folder(tmp_path / "store" / "a" / "b"):
        raise RuntimeError
    assert names(tmp_path) == ["store"]
    with pytest.raises(RuntimeError), files.making_folder(tmp_path / "store"):
        raise RuntimeError
    assert names(tmp_path) == ["store"]


def test_write_bytes_replaces_an_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for content in (b"old", b"new"):
        files.write_bytes(path, content)
        assert path.read_bytes() == content
    assert names(tmp_path) == ["a.png"]


def test_write_bytes_fails_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot write .*a\.png: No such file or directory"):
        files.write_bytes(tmp_path / "no" / "a.png", b"new")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ArtifactError, match=r"cannot write .*a\.png: Is a directory"):
        files.write_bytes(tmp_path / "a.png", b"new")
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("length", [200, 250])
def test_a_long_name_is_written(tmp_path: Path, length: int) -> None:
    path = tmp_path / ("m" * length)
    files.write_text(path, "x", force=False)
    files.write_bytes(path, b"y")
    with files.writing_folder(tmp_path / ("f" * length), force=False):
        pass
    assert names(tmp_path) == ["f" * length, "m" * length]


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="is a pipe, which is not replaced"):
        files.ensure_free(pipe, force=True)
    with pytest.raises(UsageError, match="is a pipe, which is not replaced"), files.writing(pipe, force=True):
        pass
    assert stat.S_ISFIFO(pipe.stat().st_mode)


KILLED = """
import os, signal, sys
from pathlib import Path
from segplug import files
with files.writing(Path(sys.argv[1]) / "file", force=False) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


ELSEWHERE = ".segplug-writing-elsewhere-0b00-1-1-7"


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory: pytest.TempPathFactory) -> str:
    """How the name of what a killed process left begins."""
    folder = tmp_path_factory.mktemp("killed")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)])
    assert process.wait() == -signal.SIGKILL
    (left,) = names(folder)
    beginning, _, _ = left.rpartition("-")
    assert str(process.pid) in beginning.split("-")
    return beginning


def write_file(folder: Path) -> None:
    files.write_text(folder / "file", "x", force=True)


def write_folder(folder: Path) -> None:
    with files.writing_folder(folder / "file", force=True):
        pass


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_what_a_killed_process_left_is_removed(tmp_path: Path, left_behind: str, write) -> None:
    kept = [
        temporary_name(),  # still runs
        f"{ELSEWHERE}-b",  # on another machine, where it may still run
        ".segplug-writing-by-hand",
    ]
    removed = [f"{left_behind}-c", f"{ELSEWHERE}-d"]
    for name in (*kept, *removed):
        (tmp_path / name / "half").mkdir(parents=True)
    removed.append(f"{left_behind}-0")
    (tmp_path / removed[-1]).write_bytes(b"half")
    for name in (kept[2], removed[1]):
        os.utime(tmp_path / name, (0, 0))
    write(tmp_path)
    assert names(tmp_path) == sorted([*kept, "file"])


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_a_folder_that_a_killed_process_had_moved_aside_is_put_back(
    tmp_path: Path, left_behind: str, write
) -> None:
    old = tmp_path / f"{left_behind}-a" / "old" / "model"
    old.mkdir(parents=True)
    (old / "weights").write_bytes(b"precious")
    write(tmp_path)
    assert names(tmp_path) == ["file", "model"]
    assert (tmp_path / "model" / "weights").read_bytes() == b"precious"


def test_threads_do_not_exchange_their_temporary_places(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    seen: list[bool] = []

    def work() -> None:
        with files.scratch_folder() as folder, files.temporary_files_in(folder):
            begun.set()
            time.sleep(0.1)  # the other thread begins
            seen.append(folder.parent == tmp_path and tempfile.gettempdir() == str(folder))

    begun = threading.Event()
    threads = [threading.Thread(target=work) for _ in range(2)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert seen == [True, True]
    assert os.environ["TMPDIR"] == tempfile.gettempdir() == str(tmp_path)

"""What a hook makes lies in a stage until it is committed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from segplug.errors import ArtifactError, UsageError
from segplug.files import writing
from segplug.staging import Stage, stage_file, stage_folder

MARKER = ".segplug-commit.json"


def make(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)


def tree(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def write(stage: Stage, content: str = "new", *parts: str) -> None:
    stage.output.write_text(content)
    for part in parts:
        path = stage.output.with_name(part) if "/" not in part else stage.output.parent / part
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


def test_nothing_is_seen_before_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with stage_file(path, force=False) as stage:
        assert stage.output.name == "m.onnx"
        assert stage.destination == path
        write(stage, "new", "m.json", "weights/a b")
        assert [item.name for item in tmp_path.iterdir()] == [stage.output.parents[1].name]
        assert stage.output.parents[1].name.startswith(".segplug-writing-")
        stage.commit()
        assert path.read_text() == "new"
    assert tree(tmp_path) == {"m.onnx": "new", "m.json": "new", "weights/a b": "new"}


@pytest.mark.parametrize(
    "error", [None, RuntimeError("x"), KeyboardInterrupt(), FileNotFoundError(2, "no", "x")]
)
def test_without_a_commit_nothing_changes(tmp_path: Path, error: BaseException | None) -> None:
    make(tmp_path, **{"m.onnx": "old"})
    expected = pytest.raises(type(error)) if error else contextlib.nullcontext()
    with expected as raised, stage_file(tmp_path / "m.onnx", force=True) as stage:
        write(stage, "new", "m.json")
        if error:
            raise error
    assert error is None or raised.value is error
    assert tree(tmp_path) == {"m.onnx": "old"}
    assert [item.name for item in tmp_path.iterdir()] == ["m.onnx"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with (
        pytest.raises(ArtifactError, match=r"cannot write .*m\.onnx: No space"),
        stage_file(path, force=False),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(ArtifactError, match=r"cannot write .*m\.onnx: No such file"),
        stage_file(path, force=False) as stage,
    ):
        (stage.output / "x").write_text("")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    def refuse(*args, **options) -> str:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / ".segplug-writing-x"))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with (
        pytest.raises(ArtifactError, match="m: Read-only file system"),
        stage_file(tmp_path / "m", force=True),
    ):
        pass
    with (
        pytest.raises(ArtifactError, match=r"cannot write .*: Read-only"),
        stage_folder(tmp_path, force=True),
    ):
        pass
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="cannot be written to"), stage_file(tmp_path / "m", force=True):
        pass


def test_what_may_be_written_is_checked_first(tmp_path: Path) -> None:
    make(tmp_path, **{"m.onnx": "old"})
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name, force, message in [
        ("m.onnx", False, "already exists"),
        ("folder", False, "already exists"),
        ("pipe", True, "is a pipe, which is not replaced"),
        ("link", True, "is a folder"),
        ("m.onnx/m.onnx", True, "Not a directory"),
        ("folder/..", True, "has no name"),
    ]:
        with pytest.raises(UsageError, match=message), stage_file(tmp_path / name, force=force):
            pytest.fail("the block was entered")
    with pytest.raises(UsageError, match="there is no folder"), stage_folder(tmp_path / "m.onnx", force=True):
        pytest.fail("the block was entered")


def test_a_relative_path_is_that_of_the_start(tmp_path: Path, monkeypatch) -> None:
    name = os.fsdecode(b"caf\xe9 m.onnx")
    monkeypatch.chdir(tmp_path)
    make(tmp_path, **{name: "old", "m.json": "old"})
    (tmp_path / "elsewhere").mkdir()
    with stage_file(Path(name), force=True) as stage:
        os.chdir("elsewhere")
        write(stage, "new", "m.data")
        stage.commit(older=[Path("m.json")])
    assert tree(tmp_path) == {name: "new", "m.data": "new"}


def test_the_names_of_what_was_written(tmp_path: Path) -> None:
    with stage_file(tmp_path / "m", force=False) as stage:
        assert stage.names() == ()
        write(stage, "new", "weights/1", "a.json", "z")
        (stage.output.parent / "empty").mkdir()
        assert stage.names() == ("m", "a.json", "weights/1", "z")
    with stage_file(tmp_path / "m", force=False) as stage:
        make(stage.output / "sub", b="")
        make(stage.output.parent, a="")
        assert stage.names() == ("m/sub/b", "a")
    with stage_folder(tmp_path, force=True) as stage:
        make(stage.output / "m", b="")
        make(stage.output, **{"a.mar": ""})
        assert stage.names() == ("a.mar", "m/b")


def test_a_hook_may_choose_the_name_of_the_artifact(tmp_path: Path) -> None:
    make(tmp_path, **{"m.pth": "other", "m-1.pth": "old"})
    with stage_file(tmp_path / "n.pth", force=False) as stage:
        make(stage.output.parent, **{"m-1.pth": "new"})
        with pytest.raises(UsageError, match=r"m-1\.pth already exists"):
            stage.commit(main="m-1.pth")
        with pytest.raises(ArtifactError, match="nothing was written"):
            stage.commit(main="m-2.pth")
    with stage_file(tmp_path / "m.pth", force=True) as stage:
        make(stage.output.parent, **{"m-1.pth": "new", "m.json": "new"})
        stage.commit(main="m-1.pth")
    assert tree(tmp_path) == {"m.pth": "other", "m-1.pth": "new", "m.json": "new"}


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with stage_file(tmp_path / "m", force=False) as stage:
        (stage.output.parent / "m.json").write_text("")
        with pytest.raises(ArtifactError, match=r"nothing was written for .*m"):
            stage.commit()
    with stage_folder(tmp_path, force=True) as stage:
        (stage.output / "m").mkdir()
        with pytest.raises(ArtifactError, match="nothing was written for"):
            stage.commit()
    assert list(tmp_path.iterdir()) == []


def test_a_part_replaces_only_what_it_may(tmp_path: Path) -> None:
    make(tmp_path, **{"m.json": "mine"})
    with stage_file(tmp_path / "m.onnx", force=False) as stage:
        write(stage, "new", "m.json")
        with pytest.raises(UsageError, match=r"m\.json already exists"):
            stage.commit()
        assert tree(tmp_path)["m.json"] == "mine"
        assert not (tmp_path / "m.onnx").exists()
        make(tmp_path, **{"m.onnx": "meanwhile"})
        with pytest.raises(UsageError, match=r"m\.onnx already exists"):
            stage.commit(older=[tmp_path / "m.json", tmp_path / "m.onnx"])
        (tmp_path / "m.onnx").unlink()
        stage.commit(older=[tmp_path / "m.json"])
    assert tree(tmp_path) == {"m.onnx": "new", "m.json": "new"}


@pytest.mark.parametrize("part", ["folder", "pipe", "link/x", "file/x"])
def test_a_part_takes_the_place_of_files_only(tmp_path: Path, part: str) -> None:
    make(tmp_path / "elsewhere", x="mine")
    make(tmp_path / "folder", x="mine")
    make(tmp_path, **{"m.onnx": "old", "file": "mine"})
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    before = tree(tmp_path)
    with stage_file(tmp_path / "m.onnx", force=True) as stage:
        write(stage, "new", part)
        with pytest.raises(UsageError, match="name a"):
            stage.commit()
    assert tree(tmp_path) == before
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("kinds", [("file", "folder"), ("folder", "file")])
def test_a_file_and_a_folder_do_not_replace_each_other(tmp_path: Path, kinds: tuple[str, str]) -> None:
    def put(path: Path, kind: str) -> None:
        make(path, x=kind) if kind == "folder" else path.write_text(kind)

    put(tmp_path / "m", kinds[0])
    with stage_file(tmp_path / "m", force=True) as stage:
        put(stage.output, kinds[1])
        with pytest.raises(UsageError, match=r"is not a folder|is a folder"):
            stage.commit()
    assert list(tree(tmp_path).values()) == [kinds[0]]


def test_only_files_and_folders_are_committed(tmp_path: Path) -> None:
    with stage_file(tmp_path / "m", force=False) as stage:
        write(stage)
        (stage.output.parent / "link").symlink_to("m")
        assert stage.names() == ("m",)
        with pytest.raises(ArtifactError, match=r"link, written for .*m, is neither a file nor a folder"):
            stage.commit()
    assert list(tmp_path.iterdir()) == []


def test_an_older_part_elsewhere_stays(tmp_path: Path) -> None:
    make(tmp_path, mine="mine")
    make(tmp_path / "store", **{"m.onnx": "old", "m.data": "old"})
    (tmp_path / "store" / "link").symlink_to(tmp_path)
    store = tmp_path / "store"
    older = [
        tmp_path / "mine",
        store / ".." / "mine",
        store / "link" / "mine",
        store,
        store / "..",
        store / "no",
    ]
    with stage_file(store / "m.onnx", force=True) as stage:
        write(stage)
        stage.commit(older=[*older, store / "m.data"])
    assert tree(tmp_path) == {"mine": "mine", "store/m.onnx": "new"}


def test_a_link_at_the_destination_is_replaced_and_not_followed(tmp_path: Path) -> None:
    make(tmp_path, precious="old")
    (tmp_path / "m.onnx").symlink_to(tmp_path / "precious")
    with stage_file(tmp_path / "m.onnx", force=True) as stage:
        with writing(stage.output, force=False) as temporary:  # as a hook does that knows of no stage
            temporary.write_text("new")
        write(stage, "new", "m.json")
        stage.commit()
    assert not (tmp_path / "m.onnx").is_symlink()
    assert tree(tmp_path) == {"precious": "old", "m.onnx": "new", "m.json": "new"}


def test_one_file_is_one_move(tmp_path: Path, monkeypatch) -> None:
    moves = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (moves.append(paths), real(*paths)))
    for _ in range(2):
        with stage_file(tmp_path / "m", force=True) as stage:
            write(stage)
            stage.commit(older=[tmp_path / "gone"])
    with stage_folder(tmp_path, force=True, shared_levels=1) as stage:
        make(stage.output / "model" / "1", weights="new")
        make(stage.output / "model", **{"config.pbtxt": "new"})
        stage.commit()
    assert [target.name for _, target in moves] == ["m", "m", "model"]


@pytest.mark.parametrize("parts", [(), ("m.json",)])
def test_a_move_that_fails_is_one_line(tmp_path: Path, monkeypatch, parts: tuple[str, ...]) -> None:
    def refuse(*paths) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", *paths)

    with stage_file(tmp_path / "m", force=False) as stage, monkeypatch.context() as patched:
        write(stage, "new", *parts)
        patched.setattr(os, "replace", refuse)
        with pytest.raises(ArtifactError, match=r"cannot write .*m: Permission denied"):
            stage.commit()
        patched.undo()
        stage.commit()  # the stage is as it was
    assert tree(tmp_path) == dict.fromkeys(("m", *parts), "new")


def test_everything_is_flushed_before_it_is_moved(tmp_path: Path, monkeypatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(os.fstat(number).st_ino))
    with stage_file(tmp_path / "m", force=True) as stage:
        write(stage, "new", "m.json", "weights/0")
        written = [path.stat().st_ino for path in (stage.output.parent, *stage.output.parent.rglob("*"))]
        real = os.replace

        def replace(*paths) -> None:
            assert set(written) <= set(flushed)
            assert (stage.output.parents[1] / MARKER).stat().st_ino in flushed
            real(*paths)

        monkeypatch.setattr(os, "replace", replace)
        stage.commit()
    assert len(written) == 5


def test_a_server_finds_no_model_in_the_stage(tmp_path: Path) -> None:
    make(tmp_path / "m" / "1", **{"model.onnx": "old"})
    with stage_folder(tmp_path, force=True, shared_levels=1) as stage:
        make(stage.output / "n" / "1", **{"model.onnx": "new"})
        make(stage.output / "n", **{"config.pbtxt": "new"})
        lock, hidden = sorted(set(tmp_path.iterdir()) - {tmp_path / "m"}, key=Path.is_dir)
        assert hidden.name.startswith(".")
        assert lock.name.startswith(".")
        assert lock.read_bytes() == b""
        # Triton looks for a configuration in a model's folder, and for a model's file in a version's folder
        assert not [path for path in (*hidden.glob("*"), *hidden.glob("*/*")) if path.is_file()]


def test_a_shared_level_keeps_what_the_stage_does_not_have(tmp_path: Path) -> None:
    make(tmp_path / "m" / "1", **{"model.onnx": "old"})
    make(tmp_path / "m" / "2", **{"model.onnx": "old", "labels": "old"})
    make(tmp_path / "m", **{"config.pbtxt": "old", "notes": "old"})
    with stage_folder(tmp_path, force=True, shared_levels=1) as stage:
        for name in ("m", "n"):
            make(stage.output / name / "2", **{"model.onnx": "new"})
            make(stage.output / name, **{"config.pbtxt": "new"})
        stage.commit()
    m = {"m/1/model.onnx": "old", "m/2/model.onnx": "new", "m/config.pbtxt": "new", "m/notes": "old"}
    assert tree(tmp_path) == m | {"n/2/model.onnx": "new", "n/config.pbtxt": "new"}
    (tmp_path / "n.link").symlink_to(tmp_path / "n")
    with stage_folder(tmp_path, force=True, shared_levels=1) as stage:
        make(stage.output / "n.link" / "2", **{"model.onnx": "other"})
        with pytest.raises(UsageError, match="not a folder"):
            stage.commit()


@pytest.mark.parametrize("locks_folders", [True, False])
def test_the_last_of_several_processes_wins(tmp_path: Path, monkeypatch, locks_folders: bool) -> None:
    def flock(number: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")  # as NFS does
        real(number, operation)

    real = fcntl.flock
    if not locks_folders:
        monkeypatch.setattr(fcntl, "flock", flock)
    folder = tmp_path / "store"
    folder.mkdir()
    monkeypatch.setattr(os, "fsync", lambda number: None)
    children = []
    for child in range(4):
        children.append(os.fork())
        if children[-1] == 0:
            try:
                for turn in range(25):
                    with stage_file(folder / "m", force=True) as stage:
                        write(stage, f"{child}", "m.json", f"m.{(child + turn) % 3}")
                        stage.commit(older=folder.glob("m.*"))
            except BaseException:
                os._exit(1)
            os._exit(0)
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
    assert len(set(tree(folder).values())) == 1
    assert len(list(folder.iterdir())) == 3

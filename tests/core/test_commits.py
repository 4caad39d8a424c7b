"""A commit is whole or not at all, at whatever moment it is stopped."""

from __future__ import annotations

import errno
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import pytest

from segplug.errors import ArtifactError
from segplug.staging import recover, stage_file, stage_folder

Tree = dict[str, str]

# forks of a process with threads: pytest-xdist has some, which the tests do not use
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def make(folder: Path, tree: Tree) -> None:
    for name, content in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def tree_of(folder: Path) -> Tree:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def tree_of_visible(folder: Path) -> Tree:
    return {name: text for name, text in tree_of(folder).items() if not name.startswith(".")}


def prefixes(name: str) -> set[str]:
    return {name, *(parent.as_posix() for parent in PurePosixPath(name).parents)}


def stages_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".segplug")]


@dataclass(frozen=True)
class Case:
    """A write over an older state; ``parts`` must never be seen from both."""

    old: Tree
    new: Tree
    write: Callable[[Path], None]
    parts: tuple[str, ...]


def file_case(old: Tree, written: Tree, parts: tuple[str, ...] = (), older: tuple[str, ...] = ()) -> Case:
    def write(folder: Path) -> None:
        with stage_file(folder / "m.onnx", force=True) as stage:
            make(stage.output.parent, written)
            stage.commit(older=[folder / name for name in older])

    gone = {"m.onnx", *written, *older}
    kept = {name: text for name, text in old.items() if gone.isdisjoint(prefixes(name))}
    return Case(old, kept | written, write, ("m.onnx", *parts))


def folder_case(old: Tree, written: Tree, new: Tree, parts: tuple[str, ...], shared_levels: int) -> Case:
    def write(folder: Path) -> None:
        with stage_folder(folder, force=True, shared_levels=shared_levels) as stage:
            make(stage.output, written)
            stage.commit()

    return Case(old, new, write, parts)


VERSIONS = {"m/1/model.onnx": "first", "other/1/model.onnx": "other"}
CASES = {
    "new file": file_case({"mine.txt": "mine"}, {"m.onnx": "new"}),
    "file": file_case({"m.onnx": "old", "mine.txt": "mine"}, {"m.onnx": "new"}),
    "new parts": file_case(
        {"mine.txt": "mine"}, {"m.onnx": "new", "m.json": "new", "weights/0": "new"}, ("m.json", "weights/0")
    ),
    "parts": file_case(
        {"m.onnx": "old", "m.json": "old", "m.data": "old", "m.sig": "old", "mine.txt": "mine"},
        {"m.onnx": "new", "m.json": "new", "m.data2": "new"},
        parts=("m.json", "m.data", "m.sig", "m.data2"),
        older=("m.json", "m.data", "m.sig"),
    ),
    "folder of parts": file_case(
        {"m.onnx": "old", "weights/0": "old", "weights/1": "old"},
        {"m.onnx": "new", "weights/0": "new"},
        parts=("weights/0", "weights/1"),
        older=("weights",),
    ),
    "parts in a folder": file_case(
        {"m.onnx": "old", "weights/0": "old", "weights/1": "old", "weights/mine": "mine"},
        {"m.onnx": "new", "weights/0": "new", "weights/sub/2": "new"},
        parts=("weights/0", "weights/1", "weights/sub/2"),
        older=("weights/1",),
    ),
    "folder alone": file_case(
        {"m.onnx/a": "old", "m.onnx/b": "old", "mine.txt": "mine"},
        {"m.onnx/a": "new"},
        parts=("m.onnx/a", "m.onnx/b"),
    ),
    "folder": file_case(
        {"m.onnx/a": "old", "m.onnx/b": "old", "m.json": "old"},
        {"m.onnx/a": "new", "m.onnx/sub/c": "new", "m.json": "new"},
        parts=("m.onnx/a", "m.onnx/b", "m.onnx/sub/c", "m.json"),
        older=("m.json", "m.onnx/b"),
    ),
    "new model": folder_case(
        {"other/1/model.onnx": "other"},
        {"m/1/model.onnx": "new", "m/config.pbtxt": "new"},
        {"other/1/model.onnx": "other", "m/1/model.onnx": "new", "m/config.pbtxt": "new"},
        ("m/1/model.onnx", "m/config.pbtxt"),
        1,
    ),
    "version": folder_case(
        VERSIONS | {"m/2/model.onnx": "old", "m/2/labels": "old", "m/config.pbtxt": "old"},
        {"m/2/model.onnx": "new", "m/config.pbtxt": "new"},
        VERSIONS | {"m/2/model.onnx": "new", "m/config.pbtxt": "new"},
        ("m/2/model.onnx", "m/2/labels", "m/config.pbtxt"),
        1,
    ),
    "models": folder_case(
        VERSIONS | {"m/config.pbtxt": "old", "a.mar": "old", "b.mar": "old"},
        {"m/3/model.onnx": "new", "a.mar": "new"},
        {"m/3/model.onnx": "new", "a.mar": "new", "b.mar": "old", "other/1/model.onnx": "other"},
        (),
        0,
    ),
}
STEPS = ("replace", "fsync", "mkdir", "unlink", "rmdir")


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    case = CASES[request.param]
    assert case.old != case.new
    return case


def at_step(monkeypatch: pytest.MonkeyPatch, happens: Callable[[int], None], *, after: bool = False) -> None:
    """Call ``happens`` with the number of each change of the file system, before or after it is made.

    Files are not flushed: a test cannot see it, and it takes long.
    """
    numbers = itertools.count()
    for name in STEPS:
        real = getattr(os, name) if name != "fsync" else lambda number: None

        def step(*args, real=real, **options):
            number = next(numbers)
            if not after:
                happens(number)
            try:
                return real(*args, **options)
            finally:
                if after:
                    happens(number)

        monkeypatch.setattr(os, name, step)


def in_child(work: Callable[[], None]) -> int:
    """The process number of a child that works and ends."""
    number = os.fork()
    if number == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return number


def result_of(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def killed_at_each_step(case: Case, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Folders in which a process was killed with SIGKILL before its first change, its second, and so on."""
    for number in itertools.count():
        folder = place / str(number)
        make(folder, case.old)

        def work(folder: Path = folder, last: int = number) -> None:
            at_step(monkeypatch, lambda step: step == last and os.kill(os.getpid(), signal.SIGKILL))
            case.write(folder)

        result = result_of(in_child(work))
        if result == 0:
            assert tree_of(folder) == case.new
            assert stages_in(folder) == []
            return
        assert result == -signal.SIGKILL
        yield folder


def is_whole(case: Case, folder: Path) -> bool:
    """Whether a reader finds all parts of one state; without the main entry, it opens none of them."""

    def parts_of(state: Tree) -> Tree:
        return {name: text for name, text in state.items() if name in case.parts}

    found = parts_of(tree_of(folder))
    is_opened = any(prefixes(name) & {"m.onnx", "m/config.pbtxt"} for name in found)
    return not is_opened or found in (parts_of(case.old), parts_of(case.new))


def test_a_killed_process_leaves_the_old_or_the_new(case, tmp_path, monkeypatch) -> None:
    outcomes = []
    for folder in killed_at_each_step(case, tmp_path, monkeypatch):
        assert is_whole(case, folder), folder
        recover(folder)
        assert stages_in(folder) == [], folder
        assert tree_of(folder) in (case.old, case.new), folder
        outcomes.append(tree_of(folder) == case.new)
    assert len(outcomes) > 3
    assert outcomes == sorted(outcomes)  # old before a certain step, new from then on
    assert not outcomes[0]
    assert outcomes[-1]


def test_a_recovery_that_is_killed_is_recovered(tmp_path, monkeypatch) -> None:
    case = CASES["parts"]
    for number, folder in enumerate(killed_at_each_step(case, tmp_path, monkeypatch)):
        moved = "m.onnx" not in tree_of(folder)
        for last in range(number % 7):

            def work(folder: Path = folder, last: int = last) -> None:
                at_step(monkeypatch, lambda step: step == last and os.kill(os.getpid(), signal.SIGKILL))
                recover(folder)

            assert result_of(in_child(work)) in (0, -signal.SIGKILL)
            assert is_whole(case, folder)
        recover(folder)
        assert stages_in(folder) == []
        assert tree_of(folder) in ((case.new,) if moved else (case.old, case.new))


def test_a_running_process_is_left_alone(tmp_path, monkeypatch) -> None:
    case = CASES["parts"]
    make(tmp_path, case.old)

    def work() -> None:
        moves = itertools.count()
        real = os.replace

        def replace(*args) -> None:
            if next(moves) == 2:
                os.kill(os.getpid(), signal.SIGSTOP)
            real(*args)

        monkeypatch.setattr(os, "replace", replace)
        case.write(tmp_path)

    child = in_child(work)
    os.waitpid(child, os.WUNTRACED)
    before = {str(path) for path in tmp_path.rglob("*")}
    assert "m.onnx" not in tree_of(tmp_path)
    recover(tmp_path)
    assert {str(path) for path in tmp_path.rglob("*")} == before
    os.kill(child, signal.SIGCONT)
    assert result_of(child) == 0
    assert tree_of(tmp_path) == case.new


def test_several_processes_recover_at_once(tmp_path, monkeypatch) -> None:
    case = CASES["parts"]
    for folder in killed_at_each_step(case, tmp_path, monkeypatch):
        moved = "m.onnx" not in tree_of(folder)
        children = [in_child(partial(recover, folder)) for _ in range(4)]
        assert {result_of(child) for child in children} == {0}
        assert tree_of(folder) in ((case.new,) if moved else (case.old, case.new))
        recover(folder)  # the stage, if one of them was removing it when the others looked
        assert stages_in(folder) == []


def stopped_at_each_step(
    case: Case, place: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, *, after: bool = False
) -> Iterator[tuple[Path, BaseException | None]]:
    """Folders in which ``error`` was raised at the first change, then at the second; what came of it."""
    for last in itertools.count():
        folder = place / str(last)
        make(folder, case.old)
        steps: list[int] = []

        def happens(step: int, last: int = last, steps: list[int] = steps) -> None:
            steps.append(step)
            if step == last:
                raise error

        raised: BaseException | None = None
        with monkeypatch.context() as patched:
            at_step(patched, happens, after=after)
            try:
                case.write(folder)
            except (ArtifactError, KeyboardInterrupt) as found:
                raised = found
        if len(steps) <= last:
            return
        yield folder, raised


def test_a_full_disk_changes_nothing(case, tmp_path, monkeypatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    failures = 0
    for folder, raised in stopped_at_each_step(case, tmp_path, monkeypatch, full):
        # without an error, it was a folder that was not flushed, or the stage or lock that was not removed
        for lock in folder.glob("*.lock"):
            lock.unlink()
        assert tree_of(folder) == (case.old if raised else case.new), folder
        assert stages_in(folder) == [], folder
        assert all(any(path.iterdir()) for path in folder.rglob("*") if path.is_dir()), folder
        assert raised is None or "No space left on device" in str(raised)
        failures += raised is not None
    assert failures >= 3


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_changes_nothing(case, tmp_path, monkeypatch, after) -> None:
    outcomes = []
    for folder, raised in stopped_at_each_step(case, tmp_path, monkeypatch, KeyboardInterrupt(), after=after):
        assert isinstance(raised, KeyboardInterrupt)
        assert tree_of_visible(folder) in (case.old, case.new), folder
        assert not list(folder.rglob(".segplug-commit.json"))
        outcomes.append(tree_of_visible(folder) == case.new)
    assert outcomes == sorted(outcomes)
    assert outcomes.count(False) >= 3


def test_a_process_that_is_killed_while_it_puts_back(case, tmp_path, monkeypatch) -> None:
    for last in itertools.count():
        folder = tmp_path / str(last)
        make(folder, case.old)

        def work(folder: Path = folder, last: int = last) -> None:
            def unlink(path, **options) -> None:  # the marker, when everything has been placed
                monkeypatch.setattr(os, "unlink", real)
                at_step(monkeypatch, lambda step: step == last and os.kill(os.getpid(), signal.SIGKILL))
                raise OSError(errno.EIO, "Input/output error")

            real = os.unlink
            monkeypatch.setattr(os, "unlink", unlink)
            case.write(folder)

        result = result_of(in_child(work))
        assert is_whole(case, folder), folder
        recover(folder)
        assert tree_of(folder) in (case.old, case.new), folder
        assert stages_in(folder) == []
        if result != -signal.SIGKILL:
            break


def test_what_cannot_be_put_back_is_completed_later(case, tmp_path, monkeypatch) -> None:
    broken = 0
    for first in itertools.count():
        folder = tmp_path / str(first)
        make(folder, case.old)

        def work(folder: Path = folder, first: int = first) -> None:
            moves = itertools.count()
            real = os.replace

            def replace(*args) -> None:
                if next(moves) >= first:
                    raise OSError(errno.EIO, "Input/output error")
                real(*args)

            monkeypatch.setattr(os, "replace", replace)
            case.write(folder)

        if result_of(in_child(work)) == 0:
            break
        broken += bool(stages_in(folder))
        assert is_whole(case, folder)
        recover(folder)
        assert tree_of(folder) in (case.old, case.new), folder
        assert stages_in(folder) == []
    assert first > 0
    assert bool(broken) == (first > 1)

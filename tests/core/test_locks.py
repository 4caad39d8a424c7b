"""Locks end with the process that holds them, and leave nothing that keeps others out."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segplug.commits import locked, reserved
from segplug.files import write_text
from segplug.locks import lock_path, locked_file

HOLDS = """
    import os, signal, sys, time
    from pathlib import Path
    from segplug.commits import locked, reserved
    from segplug.locks import lock_path

    hold, folder, forks = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "forks"
    with {"locked": locked, "reserved": reserved}[hold](folder):
        child = os.fork() if forks else None
        if child == 0:
            time.sleep(30)
            os._exit(0)
        print(child, flush=True)
        time.sleep(60)
"""

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@contextmanager
def holder(hold: str, folder: Path, forks: str = "") -> Iterator[tuple[subprocess.Popen[str], int | None]]:
    """Another process that holds a lock, and its child if it ``forks``."""
    command = [sys.executable, "-c", textwrap.dedent(HOLDS), hold, str(folder), forks]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        child = int(said) if forks else None
        yield process, child
    finally:
        process.kill()
        process.wait()
        if forks and child is not None:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("forks", ["", "forks"])
@pytest.mark.parametrize("hold", ["locked", "reserved"])
def test_a_lock_ends_with_its_holder(tmp_path: Path, hold: str, forks: str) -> None:
    """Also while a child lives on that was forked when the lock was held."""
    with holder(hold, tmp_path, forks) as (process, _):
        process.kill()
        process.wait()
        take: Callable = {"locked": locked, "reserved": reserved}[hold]
        with taken_within(take, tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


@contextmanager
def taken_within(take: Callable, folder: Path, seconds: int = 10) -> Iterator[None]:
    def too_long(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        with take(folder):
            signal.alarm(0)
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_what_a_killed_holder_left_is_removed_by_any_write(tmp_path: Path) -> None:
    with holder("reserved", tmp_path) as (process, _):
        assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
        write_text(tmp_path / "while it is held", "x", force=False)
        assert len(list(tmp_path.glob(".*"))) == 1
        process.kill()
        process.wait()
    assert len(list(tmp_path.glob(".*"))) == 1
    write_text(tmp_path / "after", "x", force=False)
    assert not list(tmp_path.glob(".*"))


def test_a_held_lock_is_not_taken(tmp_path: Path) -> None:
    with holder("locked", tmp_path):
        assert lock_path(tmp_path, wait=False) is None
    lock = lock_path(tmp_path, wait=False)
    assert lock is not None
    assert lock_path(tmp_path, wait=False) is None  # not by another thread either
    lock.release()
    lock.release()
    again = lock_path(tmp_path, wait=False)
    assert again is not None
    again.release()


def test_one_at_a_time_though_the_file_goes_and_comes(tmp_path: Path) -> None:
    lock, inside = tmp_path / "x.lock", tmp_path / "inside"
    children = []
    for _ in range(4):
        children.append(os.fork())
        if children[-1] == 0:
            try:
                for _ in range(50):
                    with locked_file(lock) as held:
                        assert held
                        inside.mkdir()  # fails if another one is inside
                        inside.rmdir()
            except BaseException:
                os._exit(1)
            os._exit(0)
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "link", "folder that is not there"])
def test_where_no_lock_is_possible_the_work_goes_on(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.lock"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "precious")
    else:
        path = tmp_path / "no" / "x.lock"
    with locked_file(path) as held:
        assert not held
    assert not (tmp_path / "precious").exists()


@pytest.mark.parametrize("take", [locked, reserved])
def test_a_file_system_without_locks_leaves_no_file(tmp_path: Path, monkeypatch, take: Callable) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for _ in range(2):
        with taken_within(take, tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []

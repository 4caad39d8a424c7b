"""Only what dead processes left is removed, whatever numbers processes have."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from segplug import temporary
from segplug.files import scratch_folder, write_text
from segplug.locks import lock_path
from segplug.temporary import remove_abandoned, temporary_folder

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")

OWN = temporary._owner(os.getpid())


def left_by(folder: Path, age: float = 0, **changes: str) -> Path:
    """A folder as another process would have left it: the owner differs from this one in some fields."""
    left = folder / f"{replace(OWN, **changes).prefix}a"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    seconds = left.stat().st_mtime - age
    os.utime(left, (seconds, seconds))
    return left


DAY = 25 * 3600
ENDED = {"process": "4194304999"}  # larger than Linux's numbers


@pytest.mark.parametrize(
    ("changes", "age", "is_removed"),
    [
        ({}, DAY, False),  # this process
        (ENDED, 0, True),
        ({"process": "1", "began": "77777777777"}, 0, True),  # another process has its number by now
        ({"process": str(os.getppid()), "began": ""}, DAY, False),
        ({"boot": "b00", **ENDED}, 0, True),  # the machine was started again
        ({"boot": "b00"}, 0, True),
        ({"numbering": "1"}, 0, False),  # another container, which may be about to lock it
        ({"numbering": "1"}, 120, True),
        ({"machine": "c0ffee", "numbering": "1"}, 120, True),  # it may have a name of its own
        ({"machine": "c0ffee"}, DAY, False),  # the same processes, so it runs
        ({"machine": "c0ffee", "boot": "b00", **ENDED}, 3600, False),  # another machine
        ({"machine": "c0ffee", "boot": "b00", **ENDED}, DAY, True),
    ],
)
def test_what_is_abandoned(tmp_path: Path, changes: dict[str, str], age: float, is_removed: bool) -> None:
    left = left_by(tmp_path, age, **changes)
    remove_abandoned(tmp_path)
    assert left.exists() != is_removed


@pytest.mark.parametrize("changes", [ENDED, {"numbering": "1"}, {"boot": "b00", "machine": "c0ffee"}])
def test_what_is_locked_is_never_removed(tmp_path: Path, changes: dict[str, str]) -> None:
    left = left_by(tmp_path, DAY, **changes)
    lock = lock_path(left, wait=False)
    assert lock is not None
    remove_abandoned(tmp_path)
    assert left.exists()
    lock.release()
    remove_abandoned(tmp_path)
    assert not left.exists()


def test_a_process_that_ended_and_was_not_waited_for_has_ended(tmp_path: Path) -> None:
    """As in a container whose first process waits for no other."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        began = temporary._state_of_process(str(process.pid))[1]
        left = left_by(tmp_path, process=str(process.pid), began=began)
        remove_abandoned(tmp_path)
        assert left.exists()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        os.kill(process.pid, 0)
        remove_abandoned(tmp_path)
        assert not left.exists()
    finally:
        process.kill()
        process.wait()


def test_without_proc_the_number_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_text", lambda path: "")
    temporary._owner.cache_clear()
    try:
        own = temporary._owner(os.getpid())
        assert (own.boot, own.began) == ("", "")
        for process, stays in ((os.getpid(), True), (4194304999, False)):
            left = tmp_path / f"{replace(own, process=str(process)).prefix}a"
            left.mkdir()
            remove_abandoned(tmp_path)
            assert left.exists() == stays
    finally:
        temporary._owner.cache_clear()


def test_links_and_other_peoples_folders_stay_in_a_folder_of_everyone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "home" / "old"
    precious.mkdir(parents=True)
    (precious / "file").write_text("precious")
    shared = tmp_path / "shared"
    left = left_by(shared, **ENDED)
    (shared / f"{replace(OWN, **ENDED).prefix}b").symlink_to(precious.parent)
    shared.chmod(0o1777)
    own = os.geteuid()
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: own + 1)
        remove_abandoned(shared)
        assert left.exists()
    remove_abandoned(shared)
    assert not left.exists()
    assert (precious / "file").read_text() == "precious"


def test_processes_that_write_and_sweep_at_once_keep_their_work(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from segplug.temporary import remove_abandoned, temporary_folder

        folder = Path(sys.argv[1])
        for _ in range(200):
            with temporary_folder(folder) as own:
                (own / "file").write_text("x")
                remove_abandoned(folder)
                assert (own / "file").read_text() == "x"
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    assert [process.wait() for process in [subprocess.Popen(command) for _ in range(3)]] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_goes_and_so_do_those_of_killed_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
        import os, signal
        from segplug.files import scratch_folder

        with scratch_folder() as folder:
            (folder / "half").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_a_write_in_a_fork_is_the_forks(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as own:
        child = os.fork()
        if child == 0:
            with temporary_folder(tmp_path) as forks:
                write_text(tmp_path / "file", "x", force=True)
                os._exit(0 if f"-{os.getpid()}-" in forks.name and own.is_dir() else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert lock_path(own, wait=False) is None  # still held
        remove_abandoned(tmp_path)
        assert own.is_dir()


def test_no_module_makes_temporary_files_or_locks_that_a_kill_leaves() -> None:
    """``scratch_folder`` and ``segplug.locks`` are there for it; anonymous files need neither."""
    root = Path(__file__).parents[2]
    sources = [*root.glob("segplug/**/*.py"), *root.glob("plugins/*/src/**/*.py")]
    assert len(sources) > 300
    forbidden = re.compile(r"\b(TemporaryDirectory|NamedTemporaryFile|mkdtemp|mkstemp|filelock|flock)\b(?!`)")
    found = {
        path.relative_to(root).as_posix()
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if forbidden.search(line.partition("#")[0])
    }
    assert found == {"segplug/locks.py"}

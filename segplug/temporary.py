"""Temporary folders and files: whose they are, and how those of dead processes are removed.

The name says which process writes there. The process also holds a lock on its folders, which ends with it. So
no process takes the work of a running one for abandoned.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from segplug.commits import remove_temporary, roll_forward
from segplug.locks import Lock, lock_path

__all__ = ["PREFIX", "put_back", "remove_abandoned", "temporary_folder", "temporary_name"]

PREFIX = ".segplug-writing"
"""How the names of temporary folders and files begin."""

_NUMBERS = itertools.count()

_ANOTHER_MACHINE = 24 * 3600
"""Age, in seconds, from which what another machine was writing is taken as abandoned."""

_ANOTHER_CONTAINER = 60
"""Age, in seconds, from which an unlocked folder of another container on this machine is abandoned: a process
makes its folder, and locks it then."""


@dataclass(frozen=True)
class _Owner:
    """The process that writes, as its fields are in names; empty where the system does not tell."""

    machine: str
    boot: str
    """Differs each time that a machine is started, and is the same in all containers on it."""
    numbering: str
    """Tells apart containers, each of which numbers its processes on its own."""
    process: str
    began: str
    """Numbers of processes are used again, at other times."""

    @property
    def prefix(self) -> str:
        """How the names of what it writes begin."""
        return "-".join((PREFIX, *astuple(self), ""))


_TEMPORARY = re.compile(rf"{re.escape(PREFIX)}-(\w*)-(\w*)-(\w*)-(\d+)-(\d*)-\w+")


def temporary_name() -> str:
    """A name for one of many small files of this process."""
    return f"{_owner(os.getpid()).prefix}{next(_NUMBERS)}"


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder in ``parent`` for the time of the block.

    It is kept if it holds what a later write needs to complete a commit.
    """
    folder = parent / f"{_owner(os.getpid()).prefix}{secrets.token_hex(4)}"
    lock: Lock | None = None
    try:
        folder.mkdir(mode=0o700)
        with contextlib.suppress(OSError):  # not every file system locks folders
            lock = lock_path(folder, wait=True)
        yield folder
    finally:
        remove_temporary(folder)
        if lock is not None:
            lock.release()


def put_back(temporary: Path) -> None:
    """Move the older folder back to its place, unless the new one is there."""
    for old in (temporary / "old").glob("*"):
        target = temporary.parent / old.name
        if not target.exists():
            os.replace(old, target)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary folders and files of processes that were killed, and complete their commits."""
    try:
        found = list(folder.glob(f"{PREFIX}-*"))
        is_shared = os.name == "posix" and bool(folder.stat().st_mode & stat.S_ISVTX)  # /tmp
    except OSError:  # the folder may not be entered: whoever writes there reports it
        return
    for temporary in found:
        with contextlib.suppress(OSError):  # another user's, or another process was faster
            state = temporary.lstat()
            if is_shared and state.st_uid != os.geteuid():
                continue
            if stat.S_ISDIR(state.st_mode):
                _remove_folder(temporary)
            elif stat.S_ISREG(state.st_mode):
                _remove_file(temporary)


def _remove_file(temporary: Path) -> None:
    if temporary.suffix == ".lock":
        lock = lock_path(temporary, wait=False)
        if lock is not None:  # its holder was killed
            temporary.unlink()
            lock.release()
    elif _is_abandoned(temporary, is_unlocked=False):
        temporary.unlink()


def _remove_folder(temporary: Path) -> None:
    lock: Lock | None = None
    can_be_locked = True
    try:
        lock = lock_path(temporary, wait=False)
    except OSError:
        can_be_locked = False
    if can_be_locked and lock is None:  # by the process that writes there, or by one that removes it
        return
    try:
        if _is_abandoned(temporary, is_unlocked=can_be_locked):
            roll_forward(temporary)
            put_back(temporary)
            remove_temporary(temporary)
    finally:
        if lock is not None:
            lock.release()


def _is_abandoned(temporary: Path, *, is_unlocked: bool) -> bool:
    """Whether the process that wrote there has ended.

    Args:
        temporary: The folder or the file.
        is_unlocked: It is a folder, this file system locks folders, and nobody has locked this one.
    """
    named = _TEMPORARY.fullmatch(temporary.name)
    if named is None:
        return False
    owner, own = _Owner(*named.groups()), _owner(os.getpid())
    is_this_machine = owner.machine == own.machine and owner.numbering == own.numbering
    if os.name == "posix" and owner.boot == own.boot and (is_this_machine or own.boot):
        if owner.numbering == own.numbering:
            return not _is_running(owner)
        # No number tells about a process of another container, but the lock does.
        return _age(temporary) > (_ANOTHER_CONTAINER if is_unlocked else _ANOTHER_MACHINE)
    if os.name == "posix" and is_this_machine:  # it was started again
        return True
    return _age(temporary) > _ANOTHER_MACHINE


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _is_running(owner: _Owner) -> bool:
    state, began = _state_of_process(owner.process)
    if state in ("Z", "X"):  # it has ended, and its parent has not noticed
        return False
    if began and owner.began:
        return began == owner.began
    try:
        os.kill(int(owner.process), 0)  # signal 0 only asks whether the process exists
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


@functools.lru_cache(maxsize=1)
def _owner(process: int) -> _Owner:
    """This process. The argument makes a forked one look again."""
    name = f"{socket.gethostname()} {_text('/etc/machine-id')}"
    try:
        numbering = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        numbering = ""
    return _Owner(
        machine=hashlib.sha256(name.encode()).hexdigest()[:12],
        boot=_text("/proc/sys/kernel/random/boot_id").replace("-", "")[:12],
        numbering=numbering,
        process=str(process),
        began=_state_of_process(str(process))[1],
    )


def _state_of_process(number: str) -> tuple[str, str]:
    """Linux's letter for the state of a process, and when it began; both are empty where they are unknown."""
    fields = _text(f"/proc/{number}/stat").rpartition(")")[2].split()  # the name before may hold anything
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""

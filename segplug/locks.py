"""Locks of the operating system: one ends with the process that holds it, however that process ends.

A lock is on a folder, or on an open file. That a file exists never means that something is locked, so nothing
that a killed process left keeps others out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Lock", "lock_path", "locked_file"]

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP}
"""The errors of a file system that has no locks at all."""


class Lock:
    """A lock that is held until :meth:`release`, or until this process ends."""

    def __init__(self, number: int) -> None:
        self._number: int | None = number
        self._owner = os.getpid()
        _HELD.add(self)

    def release(self) -> None:
        """Let others take the lock; a second call does nothing."""
        number, self._number = self._number, None
        if number is None:
            return
        _HELD.discard(self)
        try:
            if os.getpid() == self._owner:  # in a forked process it is still the parent's
                _unlock(number)
        finally:
            os.close(number)


_HELD: weakref.WeakSet[Lock] = weakref.WeakSet()


def _close_all() -> None:
    """Close the locks of the parent in a forked process: it would hold them when the parent has ended."""
    for lock in list(_HELD):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)


if sys.platform == "win32":
    import msvcrt

    def _lock(number: int, *, wait: bool) -> bool:
        while True:
            try:
                msvcrt.locking(number, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except PermissionError:  # after ten seconds, with LK_LOCK
                if not wait:
                    return False
            else:
                return True

    def _unlock(number: int) -> None:
        msvcrt.locking(number, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(number: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(number, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(number: int) -> None:
        fcntl.flock(number, fcntl.LOCK_UN)


def lock_path(path: Path, *, wait: bool, make: bool = False) -> Lock | None:
    """Lock a folder or a regular file for this process alone.

    Args:
        path: The folder or the file.
        wait: Wait until nobody else holds the lock.
        make: Make an empty file if there is nothing.

    Returns:
        The lock; ``None``: somebody else holds it, another process or another thread.

    Raises:
        FileNotFoundError: there is nothing, or the last holder has removed it.
        OSError: it cannot be opened, is neither a folder nor a regular file, or cannot be locked: some file
            systems (NFS) lock no folders.
    """
    while True:
        number = _opened(path, make=make)
        try:
            if not _lock(number, wait=wait):
                os.close(number)
                return None
            is_there = _is_at(number, path)
        except BaseException as error:
            os.close(number)
            if make and isinstance(error, OSError) and error.errno in _NO_LOCKS:  # then nobody holds it
                path.unlink(missing_ok=True)
            raise
        if is_there:
            return Lock(number)
        os.close(number)  # removed while it was waited for: a lock on what nobody finds keeps nobody out


def _opened(path: Path, *, make: bool) -> int:
    # not blocked by a FIFO at that place, and not led elsewhere by a link
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    if make:
        number = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    else:
        number = os.open(path, (os.O_RDONLY if path.is_dir() else os.O_RDWR) | flags)
    mode = os.fstat(number).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return number
    os.close(number)
    raise OSError(f"{path} is neither a folder nor a regular file")


def _is_at(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def locked_file(path: Path) -> Iterator[bool]:
    """Wait for the lock on a file that exists only as long as somebody holds or wants it.

    Yields whether it is locked: it is not where the file cannot be made or locked. A killed holder leaves the
    empty file; the next one takes and removes it.
    """
    try:
        lock = lock_path(path, wait=True, make=True)
    except OSError:
        lock = None
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            path.unlink()  # before the release: who waits for it finds it gone, and makes another one
        lock.release()

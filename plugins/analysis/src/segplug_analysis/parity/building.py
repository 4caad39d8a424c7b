"""Folders that are written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segplug.errors import ArtifactError

__all__ = ["built"]

_UNFINISHED = ".making"
_MACHINE = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())

_FORGOTTEN = 24 * 3600
"""Seconds after which nobody is believed to be at work whose process cannot be looked for."""


@contextmanager
def built(folder: Path) -> Iterator[Path]:
    """A folder that takes the place of ``folder`` when all that belongs into it is there.

    Raises:
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    _sweep(folder.parent)
    prefix = f"{_UNFINISHED}-{_MACHINE}-{os.getpid()}-"
    try:
        temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        building = temporary / folder.name
        building.mkdir()
        yield building
        _put(building, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(building: Path, folder: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(building, folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _cannot_write(folder: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"cannot write {folder}: {error.strerror or error}")


def _sweep(folder: Path) -> None:
    """Remove what processes left that were ended in the middle of their work."""
    for left in folder.glob(f"{_UNFINISHED}-*"):
        if not _is_in_work(left):
            shutil.rmtree(left, ignore_errors=True)


def _is_in_work(temporary: Path) -> bool:
    """Whether the process that the name tells of is there, as far as it can be known from here."""
    _, _, rest = temporary.name.partition(f"{_UNFINISHED}-{_MACHINE}-")
    process = rest.partition("-")[0]
    if process.isdecimal() and os.name == "posix":
        return _is_running(int(process))
    try:
        return time.time() - temporary.stat().st_mtime < _FORGOTTEN
    except OSError:  # somebody else has removed it
        return True


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and does nothing to it
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True

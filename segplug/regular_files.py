"""Open what a user names as a file: regular files only, so that no read waits for ever or never ends.

A pipe makes whoever opens it wait for a writer, and a device like ``/dev/zero`` has no end. Links are
followed, and what they lead to is judged. Every place that opens a user's file does so here.

The errors are of the system's own class (:class:`OSError`), with a text for people as their ``strerror``:
what reports a file that cannot be read reports one that is no file, too.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "FOLDER",
    "MOST_TEXT",
    "NotRegularError",
    "TooLargeError",
    "copy_regular",
    "expanded",
    "is_regular",
    "kind_of",
    "open_regular",
    "read_regular",
    "read_regular_text",
    "require_regular",
    "why_no_file",
    "why_no_path",
]

MOST_TEXT = 64 << 20
"""Bytes of text that are read at most, unless the caller says something else: lists, notes, configs."""

FOLDER = "a folder"
"""What :func:`kind_of` says of a folder."""
_BLOCK = 1 << 20
_KINDS = (
    (stat.S_ISDIR, FOLDER),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_NO_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM)
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that took the file's place after the check does not block
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


class NotRegularError(OSError):
    """What was named as a file is a pipe, a device, a socket or a folder; ``strerror`` says which."""


class TooLargeError(OSError):
    """A file has more bytes than its reader takes; ``strerror`` says how many."""


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file, or a link to one, to read its bytes. It never blocks.

    Raises:
        NotRegularError: it is something else.
        OSError: it does not exist, or may not be read.
    """
    return open(path, "rb", opener=_open)


def read_regular(path: str | Path, *, most_bytes: int) -> bytes:
    """The content of a regular file.

    Args:
        path: The file, or a link to it.
        most_bytes: The most that is read into memory.

    Raises:
        NotRegularError: it is no regular file.
        TooLargeError: it has more bytes.
        OSError: it does not exist, or cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most_bytes else file.read(size + 1)
        while size < len(content) <= most_bytes and (more := file.read(_BLOCK)):
            content += more  # it is longer than the system says (/proc), or grows
    if max(size, len(content)) > most_bytes:
        text = f"it has {max(size, len(content)):,} bytes, more than the {most_bytes:,} that are read"
        raise TooLargeError(errno.EFBIG, text, str(path))
    return content


def read_regular_text(path: str | Path, *, most_bytes: int = MOST_TEXT) -> str:
    """The text of a regular file in UTF-8; each line ends in one line feed.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
        OSError: as :func:`read_regular`.
    """
    content = read_regular(path, most_bytes=most_bytes)
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()


def copy_regular(source: str | Path, target: str | Path) -> None:
    """Copy the content of a regular file to a new file; raises as :func:`open_regular` does."""
    with open_regular(source) as old, open(target, "xb") as new:
        shutil.copyfileobj(old, new, _BLOCK)


def require_regular(path: str | Path) -> int:
    """The size in bytes of a regular file, for those that hand its path to another library.

    Raises:
        NotRegularError: it is something else.
        OSError: it does not exist, or its folder may not be entered.
    """
    return _size(os.stat(path), path)


def is_regular(path: str | Path) -> bool:
    """Whether there is a regular file, or a link to one. A path that the system does not take is none."""
    try:
        require_regular(path)
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return False
    return True


def why_no_file(path: str | Path, what: str = "file") -> str | None:
    """One line for a user whose path leads to no regular file; ``None``: it leads to one.

    Args:
        path: As the user gave it, or made from that.
        what: What should be there: ``checkpoint``.
    """
    try:
        require_regular(path)
    except NotRegularError as error:
        return f"{path} {str(error.strerror).removeprefix('it ')}"
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return f"there is no {what} {path}"
    except OSError as error:
        return f"the {what} {path} cannot be opened: {error.strerror or error}"
    return None


def why_no_path(error: BaseException) -> str | None:
    """One line for an error of a path that the system takes for no file's; ``None``: it is another error.

    A name that is too long, links that lead to each other, and a folder that may not be entered make
    :mod:`pathlib` raise where a path that leads nowhere is only false.
    """
    if isinstance(error, OSError) and error.errno in _NO_PATHS and error.filename is not None:
        return f"the path {os.fsdecode(error.filename)} cannot be used: {error.strerror}"
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop from "):  # before Python 3.13
        path = str(error).removeprefix("Symlink loop from ").strip("'\"")
        return f"the path {path} cannot be used: {os.strerror(errno.ELOOP)}"
    return None


def expanded(path: str | Path) -> Path:
    """A path with ``~`` as the home folder. ``~name`` of a user who is not known is a name like others."""
    return Path(os.path.expanduser(path))


def kind_of(mode: int) -> str | None:
    """What is no regular file in words (``a pipe``), from its mode; ``None``: it is a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((name for check, name in _KINDS if check(mode)), "no regular file")


def _open(path: str, flags: int) -> int:
    _size(os.stat(path), path)  # first: to open a device may do something to it
    number = os.open(path, _FLAGS)
    try:
        _size(os.fstat(number), path)
    except BaseException:
        os.close(number)
        raise
    return number


def _size(found: os.stat_result, path: str | Path) -> int:
    kind = kind_of(found.st_mode)
    if kind is not None:
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise NotRegularError(number, f"it is {kind}, not a file", str(path))
    return found.st_size

"""Write files and folders whole or not at all, and never over an input.

Everything is written under a temporary name in the same folder first, and renamed at the end. What a killed
process left is removed when the next file or folder is written beside it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from segplug.checkpoint.shards import is_index, read_index
from segplug.commits import flush_file, remove_temporary, roll_forward
from segplug.errors import ArtifactError, CheckpointError, UsageError

__all__ = [
    "ensure_folder",
    "ensure_free",
    "ensure_free_folder",
    "make_folder",
    "making_folder",
    "refuse_input",
    "write_bytes",
    "write_text",
    "writing",
    "writing_folder",
]

PREFIX = ".segplug-writing"
"""How the names of temporary folders and files begin. For the core's own modules."""


def _machine() -> str:
    """Tells apart the places that number their processes on their own: machines, and containers on one."""
    name = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())
    try:
        return f"{name}{os.stat('/proc/self/ns/pid').st_ino}"  # containers may share a host name
    except OSError:
        return name


_MACHINE = _machine()
_NUMBERS = itertools.count()
_TEMPORARY = re.compile(rf"{re.escape(PREFIX)}-([A-Za-z0-9]*)-(\d+)-\w+")

_ABANDONED = 24 * 3600
"""Age, in seconds, from which what another machine was writing is taken as abandoned."""


def ensure_free(path: Path, *, force: bool) -> None:
    """Check, before any work is done, that the file ``path`` can be written.

    Raises:
        UsageError: its folder does not exist, it is a folder, it exists and ``force`` is not set, or the
            system does not allow such a name.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file to write")
    if path.exists() and not path.is_file():  # a device or a pipe, which a rename would replace
        raise UsageError(f"{path} is not a regular file; name another one")
    _ensure_parent(path)
    _ensure_absent(path, force=force)


def ensure_free_folder(path: Path, *, force: bool) -> None:
    """Check, before any work is done, that a whole folder can be written at ``path``.

    Raises:
        UsageError: the folder that it lies in does not exist, it is a file or a link, or it exists and
            ``force`` is not set.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{path} is not a folder; name another one")
    _ensure_parent(path)
    _ensure_absent(path, force=force)


def ensure_folder(path: Path) -> None:
    """Check, before any work is done, that ``path`` is a folder, or that one can be made there.

    Raises:
        UsageError: it is a file, or the folder that it lies in does not exist.
    """
    if not path.is_dir():
        ensure_free_folder(path, force=True)


def _ensure_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist", hint=f"mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder of {path} cannot be written to")


def _ensure_absent(path: Path, *, force: bool) -> None:
    if os.path.lexists(path) and not force:  # lexists: a broken link counts as well
        raise UsageError(f"{path} already exists", hint="add --force to replace it")


def refuse_input(output: Path, inputs: Iterable[str | Path | None]) -> None:
    """Check that an output is none of the inputs: an input is never modified, not even with ``force``.

    The files that the index of a checkpoint lists are inputs, too.

    Raises:
        UsageError: ``output`` is the same file as one of them.
    """
    given = [Path(item).expanduser() for item in inputs if item is not None]
    listed = [shard for index in given for shard in _shards_of(index)]
    for path in given + listed:
        same = output.resolve() == path.resolve()
        # os.path: a name that the system does not allow is no file, and no error here.
        if same or (os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path)):
            raise UsageError(f"{output} is an input: it is not written over", hint="name another output")


def _shards_of(path: Path) -> Iterable[Path]:
    if not (is_index(path) and path.is_file()):
        return ()
    try:
        return read_index(path, str(path))
    except CheckpointError:  # the code that loads the index reports this
        return ()


@contextmanager
def writing(path: Path, *, force: bool) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields a temporary path in a folder beside ``path``, with the same name. When the block succeeds, the file
    there is flushed to disk and renamed to ``path``. When it fails, everything that was written is removed,
    and ``path`` is as it was.

    Args:
        path: The file to write.
        force: Replace it if it exists.

    Raises:
        UsageError: ``path`` exists and ``force`` is not set.
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    remove_abandoned(path.parent)  # first, since this may complete the move of a file to that place
    ensure_free(path, force=force)
    with _temporary_folder(path) as folder:
        temporary = folder / path.name
        yield temporary
        if not temporary.exists():
            raise ArtifactError(f"nothing was written for {path}")
        flush_file(temporary)
        if not force:
            ensure_free(path, force=False)
        os.replace(temporary, path)


@contextmanager
def writing_folder(path: Path, *, force: bool) -> Iterator[Path]:
    """Write a folder whole or not at all: :func:`writing` for a format that is a folder of files.

    Yields an empty temporary folder with the same name. When the block succeeds, it becomes ``path``. An
    older folder is moved aside first and removed afterwards: ``path`` is always the old folder or the new
    one, or for a moment neither.

    Raises:
        UsageError: ``path`` exists and ``force`` is not set, or it is no folder.
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    ensure_free_folder(path, force=force)
    remove_abandoned(path.parent)
    with _temporary_folder(path) as folder:
        new, old = folder / "new" / path.name, folder / "old" / path.name
        new.mkdir(parents=True)
        old.parent.mkdir()
        try:
            yield new
            for file in new.rglob("*"):
                if file.is_file():
                    flush_file(file)
            if path.exists():
                ensure_free_folder(path, force=force)
                os.replace(path, old)
            os.replace(new, path)
        finally:
            _put_back(folder)


def write_bytes(path: Path, content: bytes) -> None:
    """Write one of many small files whole or not at all, replacing an older one.

    To be fast, it writes a temporary file instead of a folder and does not flush it to disk: use
    :func:`writing` for a file that takes long to make again.

    Raises:
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f"{PREFIX}-{_MACHINE}-{os.getpid()}-{next(_NUMBERS)}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def write_text(path: Path, text: str, *, force: bool) -> None:
    """Write a text file whole or not at all; raises as :func:`writing` does."""
    with writing(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def make_folder(folder: Path) -> None:
    """Make an output folder and its parents; raises :class:`ArtifactError` if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot make the folder {folder}: {error.strerror or error}") from error


@contextmanager
def making_folder(path: Path) -> Iterator[None]:
    """Make a folder if it does not exist; if the block fails, remove it again.

    Raises:
        UsageError: it is a file, or the folder that it lies in does not exist.
    """
    exists = path.is_dir()
    if not exists:
        ensure_folder(path)
        path.mkdir(exist_ok=True)  # another process may have made it in the meantime
    try:
        yield
    except BaseException:
        if not exists:
            with contextlib.suppress(OSError):  # other files are in it by now
                path.rmdir()
        raise


@contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` for the time of the block; errors of the system in it are those of writing."""
    try:
        with temporary_folder(path.parent) as folder:
            yield folder
    except OSError as error:
        raise cannot_write(path, error) from error


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder in ``parent`` for the time of the block. The name says which process it belongs to.

    It is kept if it holds what a later write needs to complete a commit. For the core's own modules.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{_MACHINE}-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        remove_temporary(folder)


def cannot_write(path: Path, error: OSError) -> ArtifactError:
    """The error in place of one of the system's. For the core's own modules."""
    return ArtifactError(f"cannot write {path}: {error.strerror or error}")


def _put_back(temporary: Path) -> None:
    """Move the older folder back to its place, unless the new one is there."""
    for old in (temporary / "old").glob("*"):
        target = temporary.parent / old.name
        if not target.exists():
            os.replace(old, target)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary folders and files of processes that were killed, and complete their commits.

    For the core's own modules.
    """
    try:
        found = list(folder.glob(f"{PREFIX}-*"))
    except OSError:  # the folder may not be entered: whoever writes there reports it
        return
    for temporary in found:
        if _is_abandoned(temporary):
            with contextlib.suppress(OSError):  # another user's, or another process was faster
                if temporary.is_dir():
                    roll_forward(temporary)
                    _put_back(temporary)
                    remove_temporary(temporary)
                else:
                    temporary.unlink()


def _is_abandoned(temporary: Path) -> bool:
    """Whether the process that wrote there has ended; on another machine, only the age tells."""
    named = _TEMPORARY.fullmatch(temporary.name)
    if named is None:
        return False
    machine, process = named.groups()
    if machine == _MACHINE and os.name == "posix":
        return not _is_running(int(process))
    try:
        return time.time() - temporary.stat().st_mtime > _ABANDONED
    except OSError:  # another process has removed it
        return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks whether the process exists
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True

"""Write files and folders whole or not at all, and never over an input.

Everything is written under a temporary name in the same folder first, and renamed at the end. What a killed
process left is removed when the next file or folder is written beside it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from segplug.checkpoint.shards import is_index, read_index
from segplug.commits import flush_file
from segplug.errors import ArtifactError, CheckpointError, UsageError
from segplug.regular_files import FOLDER, expanded, is_regular, kind_of
from segplug.temporary import put_back, remove_abandoned, temporary_folder, temporary_name

__all__ = [
    "OutputFolders",
    "ensure_folder",
    "ensure_free",
    "ensure_free_folder",
    "making_folder",
    "making_parents",
    "refuse_input",
    "refuse_special",
    "scratch_folder",
    "temporary_files_in",
    "write_bytes",
    "write_text",
    "writing",
    "writing_folder",
]

_TEMPORARY_PLACE = threading.RLock()
"""Held while libraries put their temporary files elsewhere."""


def ensure_free(path: Path, *, force: bool) -> None:
    """Check, before any work is done, that the file ``path`` can be written.

    Raises:
        UsageError: its folder cannot be written to or made, it is a folder, it exists and ``force`` is not
            set, or the system does not allow such a name.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file to write")
    refuse_special(path)
    _ensure_parent(path)
    _ensure_absent(path, force=force)


def refuse_special(path: Path) -> None:
    """Check that there is no pipe, device or socket, itself or by a link: a rename would replace it.

    Raises:
        UsageError: there is one.
    """
    try:
        kind = kind_of(os.stat(path).st_mode)
    except OSError:  # nothing is there, or what writes there reports it
        return
    if kind not in (None, FOLDER):
        raise UsageError(f"{path} is {kind}, which is not replaced", hint="name another file")


def ensure_free_folder(path: Path, *, force: bool) -> None:
    """Check, before any work is done, that a whole folder can be written at ``path``.

    Raises:
        UsageError: the folder that it lies in cannot be written to or made, it is a file or a link, or it
            exists and ``force`` is not set.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{path} is not a folder; name another one")
    _ensure_parent(path)
    _ensure_absent(path, force=force)


def ensure_replaceable_folder(path: Path, *, force: bool) -> None:
    """Check that a whole folder can be written at ``path``, in place of one that is there.

    Raises:
        UsageError: as :func:`ensure_free_folder`; or the older folder holds a pipe, a device or a socket.
    """
    ensure_free_folder(path, force=force)
    for folder, _, names in os.walk(path):
        for name in names:
            refuse_special(Path(folder, name))


def ensure_folder(path: Path) -> None:
    """Check, before any work is done, that ``path`` is a folder, or that one can be made there.

    Raises:
        UsageError: it is a file, or the folder that it lies in cannot be written to or made.
    """
    if not path.is_dir():
        ensure_free_folder(path, force=True)


def _ensure_parent(path: Path) -> None:
    folder = next((folder for folder in path.parents if os.path.lexists(folder)), path.parent)
    if not folder.is_dir():
        raise UsageError(f"the folder of {path} cannot be made: {folder} is no folder")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} of {path} cannot be written to")
    for part in path.relative_to(folder).parts:  # in folders that are not there yet, no name is looked at
        try:
            (folder / part).lstat()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def _ensure_absent(path: Path, *, force: bool) -> None:
    if os.path.lexists(path) and not force:  # lexists: a broken link counts as well
        raise UsageError(f"{path} already exists", hint="add --force to replace it")


def refuse_input(output: Path, inputs: Iterable[str | Path | None]) -> None:
    """Check that an output is none of the inputs: an input is never modified, not even with ``force``.

    The files that the index of a checkpoint lists are inputs, too.

    Raises:
        UsageError: ``output`` is the same file as one of them.
    """
    given = [expanded(item) for item in inputs if item is not None]
    listed = [shard for index in given for shard in _shards_of(index)]
    for path in given + listed:
        same = output.resolve() == path.resolve()
        # os.path: a name that the system does not allow is no file, and no error here.
        if same or (os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path)):
            raise UsageError(f"{output} is an input: it is not written over", hint="name another output")


def _shards_of(path: Path) -> Iterable[Path]:
    if not (is_index(path) and is_regular(path)):
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
    and ``path`` is as it was. Folders that ``path`` lies in are made.

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
        ensure_free(path, force=force)
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
    ensure_replaceable_folder(path, force=force)
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
                ensure_replaceable_folder(path, force=force)
                os.replace(path, old)
            os.replace(new, path)
        finally:
            put_back(folder)


def write_bytes(path: Path, content: bytes) -> None:
    """Write one of many small files whole or not at all, replacing an older one.

    To be fast, it writes a temporary file instead of a folder and does not flush it to disk: use
    :func:`writing` for a file that takes long to make again.

    Raises:
        UsageError: a pipe, a device or a socket is there.
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    refuse_special(path)
    temporary = path.with_name(temporary_name())
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


class OutputFolders:
    """Makes output folders; those that are still empty when the work has failed are removed again.

    What killed processes left in a folder is removed when it is first asked for.
    """

    def __init__(self) -> None:
        self._made: list[Path] = []
        self._known: set[Path] = set()

    def make(self, folder: Path) -> None:
        """Make a folder and its parents, if they do not exist.

        Raises:
            ArtifactError: that is not possible.
        """
        if folder not in self._known:
            self._known.add(folder)
            remove_abandoned(folder)
        if folder.is_dir():
            return
        self._made += [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.remove_empty()
            raise ArtifactError(f"cannot make the folder {folder}: {error.strerror or error}") from error

    def remove_empty(self) -> None:
        """Remove the folders that were made, unless there is something in them."""
        for folder in sorted(set(self._made), key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextmanager
def making_parents(path: Path) -> Iterator[None]:
    """Make the folders that ``path`` lies in, if they do not exist; those that stay empty are removed again.

    Raises:
        ArtifactError: they cannot be made.
    """
    folders = OutputFolders()
    try:
        folders.make(path.parent)
        yield
    finally:
        folders.remove_empty()


@contextmanager
def making_folder(path: Path) -> Iterator[None]:
    """Make a folder, and those that it lies in, if they do not exist.

    If the block fails, they are removed again, unless something is in them.

    Raises:
        UsageError: it is a file.
        ArtifactError: it cannot be made.
    """
    ensure_folder(path)
    folders = OutputFolders()
    try:
        folders.make(path)
        yield
    except BaseException:
        folders.remove_empty()
        raise


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder for the time of the block, where the system keeps temporary files (``TMPDIR``).

    What killed processes left there is removed.

    Raises:
        ArtifactError: there is no such place that can be written.
    """
    try:
        with _TEMPORARY_PLACE:  # not in the folder of another thread, which removes it
            place = Path(tempfile.gettempdir())
    except OSError as error:
        raise ArtifactError(
            "there is no folder for temporary files", hint="set TMPDIR to one that can be written"
        ) from error
    remove_abandoned(place)
    with temporary_folder(place) as folder:
        yield folder


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Let libraries put their temporary files into ``folder`` during the block.

    In a :func:`scratch_folder`, what they leave after a kill is removed by the next run. The place is that of
    the whole process: another thread that calls this waits.
    """
    with _TEMPORARY_PLACE:
        variable, default = os.environ.get("TMPDIR"), tempfile.tempdir
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = default
            if variable is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = variable


@contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` for the time of the block; errors of the system in it are those of writing."""
    try:
        with making_parents(path), temporary_folder(path.parent) as folder:
            yield folder
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> ArtifactError:
    """The error in place of one of the system's. For the core's own modules."""
    return ArtifactError(f"cannot write {path}: {error.strerror or error}")

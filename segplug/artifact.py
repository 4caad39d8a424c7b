"""Artifacts on disk: written whole or not at all, described, never half replaced."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from segplug.checkpoint.shards import is_index, shards
from segplug.errors import ArtifactError, CheckpointError, UsageError
from segplug.model import ModelMeta
from segplug.results import Artifact

__all__ = [
    "describe",
    "ensure_free",
    "ensure_free_folder",
    "file_sha256",
    "made_folder",
    "read_sidecar",
    "refuse_input",
    "sidecar_path",
    "write_sidecar",
    "write_text",
    "writing",
    "writing_folder",
]


def ensure_free(path: Path, *, force: bool) -> None:
    """Check, before any work is done, that ``path`` can be written.

    Raises:
        UsageError: its folder does not exist, it is a folder, or it is there and not ``force``, or the
            system has no files of such a name.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file to write")
    if not path.parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist", hint=f"mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder of {path} cannot be written to")
    if os.path.lexists(path) and not force:  # a link that leads nowhere is there, too
        raise UsageError(f"{path} already exists", hint="add --force to replace it")


def refuse_input(output: Path, inputs: Iterable[str | Path | None]) -> None:
    """Check that an output is none of the inputs: an input is never modified, not even with ``force``.

    The files that the index of a checkpoint lists are inputs as it is.

    Raises:
        UsageError: ``output`` is the same file as one of them.
    """
    given = [Path(item).expanduser() for item in inputs if item is not None]
    listed = [shard for index in given for shard in _shards_of(index)]
    for path in given + listed:
        same = output.resolve() == path.resolve()
        if same or (output.exists() and path.exists() and output.samefile(path)):
            raise UsageError(f"{output} is an input: it is not written over", hint="name another output")


def _shards_of(path: Path) -> Iterable[Path]:
    if not (is_index(path) and path.is_file()):
        return ()
    try:
        return shards(path, str(path))
    except CheckpointError:  # whoever reads the index says so
        return ()


@contextmanager
def writing(path: Path, *, force: bool, named: Callable[[Path], Path] | None = None) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields a temporary path in the same folder, with the same suffix. When the block ends well the
    file there is flushed to disk and renamed to ``path``; when it does not, everything that was
    written is removed and ``path`` is as it was.

    Args:
        path: The file to write.
        force: Replace it if it is there.
        named: For a file whose name depends on what is in it: gets the temporary file, returns the
            path in ``path``'s folder that takes ``path``'s place.

    Raises:
        UsageError: ``path`` is there and not ``force``.
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    ensure_free(path, force=force or named is not None)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = folder / path.name
    try:
        yield temporary
        if not temporary.exists():
            raise ArtifactError(f"nothing was written for {path}")
        _flush(temporary)
        final = named(temporary) if named else path
        if not force:
            ensure_free(final, force=False)
        os.replace(temporary, final)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        _remove(folder)


@contextmanager
def writing_folder(path: Path, *, force: bool) -> Iterator[Path]:
    """Write a folder whole or not at all: :func:`writing` for a format that is a folder of files.

    Yields an empty temporary folder beside ``path``. When the block ends well it becomes ``path``; an older
    folder is moved aside first and removed after, so that ``path`` is always one of the two, or for a moment
    not there.

    Raises:
        UsageError: ``path`` is there and not ``force``, or it is no folder.
        ArtifactError: the disk is full, or the folder cannot be written.
    """
    ensure_free_folder(path, force=force)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _cannot_write(path, error) from error
    fresh, old = temporary / "new", temporary / "old"
    try:
        fresh.mkdir()
        yield fresh
        for file in fresh.rglob("*"):
            if file.is_file():
                _flush(file)
        if path.exists():
            ensure_free_folder(path, force=force)
            os.replace(path, old)
        os.replace(fresh, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """A folder that is made if it is not there; if the block fails, one that was made goes again.

    Raises:
        UsageError: it is a file, or the folder that it lies in does not exist.
    """
    there = path.is_dir()
    if not there:
        ensure_free_folder(path, force=True)
        path.mkdir(exist_ok=True)  # another one may have made it meanwhile
    try:
        yield
    except BaseException:
        if not there:
            with contextlib.suppress(OSError):  # somebody else's files are in it by now
                path.rmdir()
        raise


def ensure_free_folder(path: Path, *, force: bool) -> None:
    """Check, before any work is done, that a folder can be written at ``path``.

    Raises:
        UsageError: the folder that it lies in does not exist, it is a file, or it is there and not ``force``.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{path} is not a folder; name another one")
    if not path.parent.is_dir():
        raise UsageError(f"the folder of {path} does not exist", hint=f"mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder of {path} cannot be written to")
    if path.exists() and not force:
        raise UsageError(f"{path} already exists", hint="add --force to replace it")


def _cannot_write(path: Path, error: OSError) -> ArtifactError:
    return ArtifactError(f"cannot write {path}: {error.strerror or error}")


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _remove(folder: Path) -> None:
    for leftover in folder.iterdir():
        leftover.unlink()
    folder.rmdir()


def write_text(path: Path, text: str, *, force: bool) -> None:
    """Write a small text file whole or not at all; raises as :func:`writing` does."""
    with writing(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sidecar_path(path: Path) -> Path:
    """Where the metadata of an artifact lies whose format has no place for it."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, meta: ModelMeta) -> None:
    """Write ``<artifact>.json`` beside an artifact, replacing an older one."""
    write_text(sidecar_path(path), meta.to_json() + "\n", force=True)


def read_sidecar(path: Path) -> ModelMeta | None:
    """The metadata beside an artifact, or ``None`` if there is none.

    Raises:
        ArtifactError: there is one, but it is damaged.
    """
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        return None
    return ModelMeta.from_json(sidecar.read_text(encoding="utf-8"))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe(path: Path, *, format: str, meta: ModelMeta) -> Artifact:
    """The :class:`Artifact` for a file or folder that lies at ``path``.

    A folder's hash is that of its files' relative names and hashes, in order of the names.
    """
    if not path.is_dir():
        return Artifact(
            path=path, format=format, meta=meta, size=path.stat().st_size, sha256=file_sha256(path)
        )
    files = sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path).as_posix()}\0{file_sha256(file)}\n".encode())
    size = sum(file.stat().st_size for file in files)
    return Artifact(path=path, format=format, meta=meta, size=size, sha256=digest.hexdigest())

"""The metadata in PyTorch's files, read and written without PyTorch.

A TorchScript file and a ``.pt2`` are zip files. Entries below ``extra/`` are extra files, and one of them is
the model's metadata. So a damaged file, or one of another kind, is found before PyTorch opens it.
"""

from __future__ import annotations

import errno
import shlex
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from segplug.errors import ArtifactError, UsageError
from segplug.files import writing
from segplug.model import META_ENTRY, ModelMeta
from segplug.regular_files import open_regular, why_no_file

__all__ = [
    "COMPILED",
    "SUFFIXES",
    "Contents",
    "Kind",
    "how_to_use",
    "read_checked",
    "read_contents",
    "read_meta",
    "read_whole",
    "write_file",
    "write_meta",
]

SUFFIXES = (".pt", ".pth", ".ts", ".torchscript", ".jit", ".pt2")
"""What the names of such files end in. Those of checkpoints end so, too."""

Kind = Literal["torchscript", "export", "aot"]

COMPILED = "compiled torch.export package"
"""What a file of machine code is called."""

_WORDS: dict[str, str] = {
    "torchscript": "a TorchScript file",
    "export": "a torch.export program",
    "aot": f"a {COMPILED}",
    "checkpoint": "a file of weights without a network",
    "other": "a zip file of another kind",
}
_TARGETS = {"torchscript": "torchscript", "export": "torch-export", "aot": "torch-export"}

_META = f"extra/{META_ENTRY}"
_ROOT = "model"
"""The folder of all entries. PyTorch itself names it after the file, and takes any name."""

_CODE = ("code/", "models/")
_WEIGHTS = ("data/", "constants/")
"""Where PyTorch puts code and tensors. A ``.pt2`` has its weights in ``data/weights/``."""

_SOURCE_PATHS = ".debug_pkl"
"""The entries that map each line of a TorchScript file to the network's source code."""

_ALIGNMENT = 64
"""PyTorch starts the bytes of each entry at multiples of this, so that weights can be mapped into memory."""
_PADDING = b"FB"
"""PyTorch's name of the header field that fills the gap."""
_FIXED_HEADER = 30
"""Bytes of an entry's header before its name, in every zip file."""
_DAMAGE = (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error, struct.error, UnicodeError)
"""What Python raises for a zip file that is damaged."""
_MOST_UNPACKED = 64 << 20
"""Bytes that a file may hold beyond its own size: PyTorch packs a network's code alone."""
_MOST_META = 16 << 20
_ENCRYPTED = 1
"""The flag of an entry that takes a password."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def read_meta(path: Path, target: str) -> ModelMeta | None:
    """The metadata of a file. Only the metadata is checked.

    Args:
        path: The file.
        target: The ``export`` target that may have made it.

    Returns:
        ``None`` if segplug did not write it, or another target did.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is no file of PyTorch's, is cut, or its metadata is damaged or too new.
    """
    with _opened(path) as archive:
        return _meta(path, archive) if _TARGETS.get(_kind(archive)) == target else None


@dataclass(frozen=True)
class Contents:
    """What a file holds, from the names and sizes of its entries."""

    what: str
    """The kind of file in a few words: ``a TorchScript file``."""
    code: int
    """Bytes of a TorchScript file's code, or of a program's graph."""
    weights: int
    """Bytes of its tensors."""


def read_contents(path: Path, target: str) -> Contents | None:
    """What a file of segplug or of another tool holds; nothing in it is run.

    Args:
        path: The file.
        target: The ``export`` target whose kind of file is meant.

    Returns:
        ``None`` if the file is of another kind.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is no file of PyTorch's, or is cut.
    """
    with _opened(path) as archive:
        kind = _kind(archive)
        if _TARGETS.get(kind) != target:
            return None
        sizes = {_inner(info.filename): info.file_size for info in archive.infolist()}
        code = sum(size for name, size in sizes.items() if name.startswith(_CODE))
        weights = sum(size for name, size in sizes.items() if name.startswith(_WEIGHTS))
        return Contents(_WORDS[kind], code, weights)


def read_checked(path: Path, target: str) -> tuple[Kind, ModelMeta]:
    """As :func:`read_whole`, of a file that segplug wrote.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is damaged, cut, of another kind, or segplug did not write it.
    """
    kind, meta = read_whole(path, target)
    if meta is None:
        raise ArtifactError(
            f"{path} has no metadata of its classes and preprocessing: segplug did not write it",
            hint=how_to_use(path),
        )
    return kind, meta


def how_to_use(path: Path) -> str:
    """How a file of another tool is run."""
    facts = "--mean ... --std ... --classes ..."
    return (
        f"say how it is used, and run it as a model: segplug infer pytorch {shlex.quote(str(path))} {facts}"
    )


def read_whole(path: Path, target: str) -> tuple[Kind, ModelMeta | None]:
    """The kind and the metadata of a file. Every byte is checked against the file's checksums.

    Args:
        path: The file.
        target: The target that will open it.

    Returns:
        The metadata is ``None`` if segplug did not write the file.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is damaged, cut, or of another kind.
    """
    with _opened(path) as archive:
        kind = _kind(archive)
        wanted = next((name for name, opens in _TARGETS.items() if opens == target), "")
        if _TARGETS.get(kind) != target:
            hint = f"infer {_TARGETS[kind]} opens it" if kind in _TARGETS else f"export {target} makes one"
            raise ArtifactError(f"{path} is {_WORDS[kind]}, not {_WORDS[wanted]}", hint=hint)
        if (damaged := archive.testzip()) is not None:
            raise ArtifactError(f"{path} is damaged: the checksum of {damaged} is wrong")
        meta = _meta(path, archive)
    return kind, meta  # type: ignore[return-value]  # what has a target is a Kind


def write_meta(path: Path, meta: ModelMeta) -> None:
    """Replace the metadata of a file, in one step; every other entry keeps its bytes.

    Raises:
        ArtifactError: it is no such file, is damaged, or the disk is full.
    """
    with _opened(path) as old, writing(path, force=True) as temporary:
        _copy(old, temporary, meta)


def write_file(content: BinaryIO, target: Path, meta: ModelMeta) -> None:
    """Write what PyTorch packed, with ``meta``, and without the paths of the network's source code."""
    with zipfile.ZipFile(content) as old:
        _copy(old, target, meta)


def _copy(old: zipfile.ZipFile, target: Path, meta: ModelMeta) -> None:
    with open(target, "wb") as file, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            name = _inner(info.filename)
            if name != _META and not name.endswith(_SOURCE_PATHS):
                with old.open(info) as content, new.open(_header(file, name, info), "w") as copy:
                    shutil.copyfileobj(content, copy, 1 << 20)
        blank = zipfile.ZipInfo(date_time=_EPOCH)
        text = meta.to_json().encode()
        blank.file_size = len(text)
        new.writestr(_header(file, _META, blank), text)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if reason := why_no_file(path):
        raise UsageError(reason)
    if path.stat().st_size == 0:
        raise ArtifactError(f"{path} is empty")
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            if any(info.flag_bits & _ENCRYPTED for info in archive.infolist()):
                raise ArtifactError(f"{path} is encrypted, and PyTorch writes no such files")
            unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > path.stat().st_size + _MOST_UNPACKED:
                raise ArtifactError(
                    f"{path} would unpack to {unpacked:,} bytes, and PyTorch writes no such files"
                )
            yield archive
    except _DAMAGE as error:
        raise ArtifactError(f"{path} is no file of PyTorch's, or is damaged: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ArtifactError(f"{path} is damaged: an entry lies outside of it") from error


def _kind(archive: zipfile.ZipFile) -> str:
    names = {_inner(name) for name in archive.namelist()}
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return "torchscript"
    if any(name.startswith("data/aotinductor/") for name in names):
        return "aot"
    if "archive_format" in names and any(name.startswith("models/") for name in names):
        return "export"
    return "checkpoint" if "data.pkl" in names else "other"


def _meta(path: Path, archive: zipfile.ZipFile) -> ModelMeta | None:
    entry = next((name for name in archive.namelist() if _inner(name) == _META), None)
    if entry is None:
        return None
    if archive.getinfo(entry).file_size > _MOST_META:
        raise ArtifactError(f"the metadata in {path} is too large to be segplug's")
    return ModelMeta.from_json(archive.read(entry).decode("utf-8", errors="replace"), file=path)


def _inner(name: str) -> str:
    return name.partition("/")[2]


def _header(file: BinaryIO, name: str, old: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The header of an entry at the current position of ``file``, with its bytes aligned as PyTorch wants."""
    header = zipfile.ZipInfo(f"{_ROOT}/{name}", old.date_time)
    header.compress_type = old.compress_type
    header.file_size = old.file_size  # decides whether the header needs its long form
    start = file.tell() + _FIXED_HEADER + len(header.filename.encode()) + len(_PADDING) + 2
    gap = -start % _ALIGNMENT
    header.extra = _PADDING + struct.pack("<H", gap) + b"Z" * gap
    return header

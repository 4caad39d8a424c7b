"""Numpy's archives of arrays, read without running code and mapped where they are not compressed."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from segplug.checkpoint.forms import first_words
from segplug.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    import torch

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]
    Array = np.ndarray[Any, np.dtype[Any]]

__all__ = ["Arrays", "arrays"]

_MEMBER = ".npy"
_WIDEST = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
"""Kinds of numbers to the bytes of the widest that PyTorch has."""
_TEXTS = "SU"
_CHUNK = 1 << 20
_MOST_MAPPED = 128
"""Mappings at most: each holds a file descriptor, of which a process has few (256 on macOS)."""


@dataclass(frozen=True)
class Arrays:
    """What an archive holds, under the names of its members without ``.npy``."""

    state: Mapping[str, torch.Tensor]
    texts: Mapping[str, Array]
    """Arrays of text, which no tensor holds."""


@dataclass(frozen=True)
class _Header:
    """What the first bytes of a member say of its array."""

    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype[Any]
    length: int
    """Bytes before the values."""

    @property
    def values(self) -> int:
        """Bytes of the values."""
        count = 1
        for side in self.shape:
            count *= side
        return count * self.dtype.itemsize


def arrays(path: Path, location: str) -> Arrays:
    """The arrays of an archive as tensors on the CPU.

    Values of large members that are stored as they are lie in the file until they are used, and the checksums
    of these are not verified: that would read the whole file.

    Args:
        path: The file.
        location: What the user called it.

    Raises:
        CheckpointError: it is damaged, no such archive, or an array is of a type that is not read.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below; what fails here says nothing of the content
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {location}: {error.strerror or error}") from error
    with file:
        try:
            return _members(file, location)
        except (CheckpointError, ModuleNotFoundError):
            raise
        except Exception as error:  # zipfile and numpy have many for bytes that make no sense
            raise CheckpointError(
                f"{location} is damaged or no .npz file", hint=first_words(error)
            ) from error


def _members(file: IO[bytes], location: str) -> Arrays:
    state: dict[str, torch.Tensor] = {}
    texts: dict[str, Array] = {}
    with zipfile.ZipFile(file) as archive:
        size = os.fstat(file.fileno()).st_size
        for member in archive.infolist():
            name = member.filename.removesuffix(_MEMBER)
            header = _header(archive, member, location)
            array = _shaped(_values(file, archive, member, header, size), header)
            if header.dtype.kind in _TEXTS:
                texts[f"state_dict.{name}"] = array
            else:
                state[name] = _tensor(array)
    return Arrays(state, texts)


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, location: str) -> _Header:
    """Read with numpy's own readers, which evaluate literals only.

    Raises:
        CheckpointError: the array is of a type that is not read.
        ValueError: the member is no array.
    """
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in readers:  # 3.0 differs only for records with names beyond Latin-1
            raise ValueError(f"{member.filename} is of version {version} of numpy's format")
        shape, columns_first, dtype = readers[version](file)
        header = _Header(shape, columns_first, dtype, file.tell())
    what = f"the checkpoint {location} holds {member.filename}"
    if dtype.hasobject:
        raise CheckpointError(
            f"{what}, an array of Python objects: reading those can run code",
            hint="write the file without them",
        )
    is_number = dtype.itemsize <= _WIDEST.get(dtype.kind, 0)
    if not (is_number or _is_bfloat16(dtype) or dtype.kind in _TEXTS):
        raise CheckpointError(f"{what}, an array of the type {dtype}, which is not read")
    if header.length + header.values != member.file_size:
        raise ValueError(f"{member.filename} is not as long as its header says")
    return header


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Numpy has no such type: what JAX has of it is stored as two bytes without meaning."""
    return dtype.kind == "V" and dtype.names is None and dtype.subdtype is None and dtype.itemsize == 2


def _values(
    file: IO[bytes], archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: _Header, size: int
) -> Bytes:
    """The bytes of the values, aligned for their type; ``size`` is the whole file's."""
    import numpy as np

    if member.compress_type == zipfile.ZIP_STORED:
        start = _start(file, member) + header.length
        if start + header.values > size:
            raise ValueError(f"{member.filename} goes on beyond the end of the file")
        # The format puts values anywhere, and compiled code may crash on numbers at odd addresses. Those are
        # read: a copy of what is mapped would hold them in memory twice.
        is_aligned = start % max(header.dtype.itemsize, 1) == 0
        if is_aligned and header.values * _MOST_MAPPED > size:
            # A mapping of its own is given back with its tensor. Copy on write: whoever changes the tensor
            # does not change the file.
            return np.memmap(file, np.uint8, "c", start, (header.values,)).view(np.ndarray)
    return _read(archive, member, header)


def _start(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Where a member's content begins: after a header of its own, whose length only it says."""
    file.seek(member.header_offset)
    local = file.read(30)
    if local[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"{member.filename} is not where it should be")
    lengths: tuple[int, int] = struct.unpack("<26xHH", local)  # of the name, and of what follows it
    return member.header_offset + len(local) + sum(lengths)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: _Header) -> Bytes:
    import numpy as np

    values = np.empty(header.values, np.uint8)
    with archive.open(member) as file:
        file.read(header.length)
        for start in range(0, header.values, _CHUNK):
            part = values[start : start + _CHUNK]
            content = file.read(len(part))
            if len(content) != len(part):
                raise EOFError(f"{member.filename} ends too early")
            part[:] = np.frombuffer(content, np.uint8)
    return values


def _shaped(values: Bytes, header: _Header) -> Array:
    return values.view(header.dtype).reshape(header.shape, order="F" if header.columns_first else "C")


def _tensor(array: Array) -> torch.Tensor:
    import numpy as np
    import torch

    if _is_bfloat16(array.dtype):
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))

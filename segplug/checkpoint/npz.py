"""Read NumPy's archives of arrays (.npz) without running code.

NumPy's own reader reads each array into memory of its own, so a tensor that is no longer used gives its
memory back: a conversion takes 1.03 times the file. ``mmap_mode`` has no effect on .npz files, as NumPy maps
only single arrays (.npy).
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from segplug.checkpoint.formats import first_sentence
from segplug.errors import CheckpointError
from segplug.limits import MOST_WEIGHTS_RATIO, most_weights
from segplug.regular_files import open_regular

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, np.dtype[Any]]

__all__ = ["NpzContent", "read_npz"]

_MEMBER = ".npy"
_WIDEST = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
"""Kinds of numbers: the bytes of the widest type that PyTorch has."""
_TEXTS = "SU"


@dataclass(frozen=True)
class NpzContent:
    """The content of an archive, by the names of its members without ``.npy``."""

    state: Mapping[str, torch.Tensor]
    texts: Mapping[str, Array]
    """Arrays of text, which no tensor can hold."""


def read_npz(path: Path, location: str) -> NpzContent:
    """Read the arrays of an archive as tensors on the CPU.

    Args:
        path: The file.
        location: The file as the user gave it, for errors.

    Raises:
        CheckpointError: it is damaged, no such archive, or an array has a type that is not read.
    """
    try:
        file = open_regular(path)  # an error here does not mean a damaged file
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {location}: {error.strerror or error}") from error
    with file:
        try:
            return _read_members(file, location)
        except (CheckpointError, ModuleNotFoundError):
            raise
        except Exception as error:  # zipfile and numpy raise many types for damaged files
            raise CheckpointError(
                f"{location} is damaged or no .npz file", hint=first_sentence(error)
            ) from error


def _read_members(file: IO[bytes], location: str) -> NpzContent:
    from numpy.lib import format as npy

    state: dict[str, torch.Tensor] = {}
    texts: dict[str, Array] = {}
    with zipfile.ZipFile(file) as archive:
        _check_unpacked(archive, file, location)
        for member in archive.infolist():
            with archive.open(member) as content:
                _check_header(content, member, location)
            with archive.open(member) as content:
                array = npy.read_array(content, allow_pickle=False)
                content.read()  # to its end, where zipfile verifies the checksum
            name = member.filename.removesuffix(_MEMBER)
            if array.dtype.kind in _TEXTS:
                texts[f"state_dict.{name}"] = array
            else:
                state[name] = _to_tensor(array)
    return NpzContent(state, texts)


def _check_unpacked(archive: zipfile.ZipFile, file: IO[bytes], location: str) -> None:
    """Check the size that all arrays have in memory: a small file can hold terabytes of equal numbers.

    zipfile unpacks no more of a member than its size says.

    Raises:
        CheckpointError: it is too large for a file of this size. Weights can hardly be compressed.
    """
    packed = file.seek(0, os.SEEK_END)
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > most_weights(packed):
        raise CheckpointError(
            f"{location} has {packed:,} bytes and unpacks to {unpacked:,}: "
            f"more than {MOST_WEIGHTS_RATIO} times as many are not read",
            hint="save it with numpy.savez, which does not compress",
        )


def _check_header(content: IO[bytes], member: zipfile.ZipInfo, location: str) -> None:
    """Check type and size of an array before its values are read.

    Raises:
        CheckpointError: the array has a type that is not read.
        ValueError: the member is no array, or its header and its size do not agree.
    """
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(content)
    if version not in readers:  # 3.0 differs only in records with names beyond Latin-1
        raise ValueError(f"{member.filename} is of version {version} of numpy's format")
    shape, _, dtype = readers[version](content)
    what = f"the checkpoint {location} holds {member.filename}"
    if dtype.hasobject:
        raise CheckpointError(
            f"{what}, an array of Python objects: reading those can run code",
            hint="write the file without them",
        )
    is_number = dtype.itemsize <= _WIDEST.get(dtype.kind, 0)
    if not (is_number or _is_bfloat16(dtype) or dtype.kind in _TEXTS):
        raise CheckpointError(f"{what}, an array of the type {dtype}, which is not read")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if content.tell() + size != member.file_size:
        raise ValueError(f"{member.filename} is not as long as its header says")


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """NumPy has no bfloat16: JAX stores it as a type of two bytes without a meaning."""
    return dtype.kind == "V" and dtype.names is None and dtype.subdtype is None and dtype.itemsize == 2


def _to_tensor(array: Array) -> torch.Tensor:
    import numpy as np
    import torch

    if _is_bfloat16(array.dtype):
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))

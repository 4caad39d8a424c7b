"""Read ``.npy`` files: arrays of plain numbers, never pickled objects."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import DatasetError
from segplug.runtime.reading.limits import Limits
from segplug.runtime.reading.pixels import is_number, plain

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["decode_npy", "is_npy"]

_MAGIC = b"\x93NUMPY"


def is_npy(content: bytes) -> bool:
    """Whether this is a ``.npy`` file."""
    return content.startswith(_MAGIC)


def decode_npy(content: bytes, what: str, limits: Limits) -> npt.NDArray[Any]:
    """The array in a ``.npy`` file, checked by its header before memory is taken.

    Returns:
        ``(H, W)`` or ``(H, W, C)``, C-contiguous and in the machine's byte order; bool becomes uint8.

    Raises:
        DatasetError: it is damaged or cut off, holds no plain numbers, or has another number of axes or
            channels.
    """
    shape, dtype, start = _header(content, what)
    if not is_number(dtype):
        raise DatasetError(f"{what} holds {dtype}, not plain numbers")
    if len(shape) not in (2, 3):
        raise DatasetError(f"{what} has the shape {shape}: (H, W) or (H, W, C) is expected")
    limits.check(what, shape, dtype.itemsize)
    if len(content) - start < math.prod(shape) * dtype.itemsize:
        raise DatasetError(f"{what} is damaged: the file is cut off")
    return plain(np.load(io.BytesIO(content), allow_pickle=False))


def _header(content: bytes, what: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"version {version}")  # only tables with names of columns need another one
        if any(type(size) is not int for size in shape):
            raise ValueError(f"shape {shape}")  # NumPy's check lets True pass
    except Exception as error:  # the header is a Python literal: its parser raises almost anything
        raise DatasetError(f"{what} is damaged, or no array of numbers") from error
    return shape, dtype, file.tell()

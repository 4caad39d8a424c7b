"""torchvision's antialiased resize of uint8 in NumPy: equal in every value, for machines without PyTorch.

The algorithm is that of PyTorch 2 on CPUs with AVX2: the columns first, then the rows; weights are integers
of 16 bits, whose unit is as small as the largest of them allows; each pass rounds half up to uint8. A pass is
computed as products with small matrices of floats, in which all sums are exact.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.runtime.pillow_form import weights

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["resize", "resize_nearest"]

_BLOCK = 16
"""Lines of the result that are one product: a few more input lines than they need are multiplied by zero."""

_LARGEST = 2.0**24
"""Whole numbers up to this are exact in float32."""


def resize(image: npt.NDArray[np.uint8], size: tuple[int, int], filter_name: str) -> npt.NDArray[np.uint8]:
    """Resize an image as ``torchvision.transforms.v2.functional.resize(..., antialias=True)`` does.

    Args:
        image: uint8 ``(H, W, C)``.
        size: The new (height, width).
        filter_name: ``bilinear``, ``bicubic`` or ``lanczos``.

    Returns:
        uint8 ``(height, width, C)``.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    for axis, length in ((2, size[1]), (1, size[0])):
        if planes.shape[axis] != length:
            planes = _pass(planes, length, axis, filter_name)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def resize_nearest(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Resize an image of any type, ``(H, W, C)``, as torch's ``nearest-exact`` does."""
    rows, columns = (_nearest(old, new) for old, new in zip(image.shape, size, strict=False))
    return image[rows[:, None], columns]


def _nearest(old: int, new: int) -> npt.NDArray[np.intp]:
    scale = np.float64(np.float32(old) / np.float32(new))
    positions: npt.NDArray[np.float32] = ((np.arange(new) + 0.5) * scale).astype(np.float32)
    return np.minimum(positions.astype(np.intp), old - 1)


def _pass(planes: npt.NDArray[np.uint8], length: int, axis: int, filter_name: str) -> npt.NDArray[np.uint8]:
    """Resize ``(C, H, W)`` along one axis."""
    shape = [*planes.shape]
    shape[axis] = length
    result = np.empty(shape, np.uint8)
    for number, (lines, matrix) in enumerate(_matrices(planes.shape[axis], length, filter_name)):
        part = slice(number * _BLOCK, (number + 1) * _BLOCK)
        if axis == 2:
            result[..., part] = _rounded(planes[..., lines].astype(matrix.dtype) @ matrix.T)
        else:
            result[:, part] = _rounded(matrix @ planes[:, lines].astype(matrix.dtype))
    return result


@functools.lru_cache(maxsize=16)
def _matrices(old: int, new: int, filter_name: str) -> list[tuple[slice, npt.NDArray[Any]]]:
    """For each block of output lines the input lines that count, and their weights."""
    first, exact = weights(old, new, filter_name)
    bits = _bits(float(exact.max()))
    whole = exact * (1 << bits)
    whole = np.trunc(whole + np.where(whole < 0, -0.5, 0.5))
    kind = np.float32 if 255 * np.abs(whole).sum(axis=1).max() + (1 << bits) < _LARGEST else np.float64
    rounded = (whole / (1 << bits)).astype(kind)
    found = []
    for start in range(0, new, _BLOCK):
        part = slice(start, start + _BLOCK)
        places = first[part, None] + np.arange(rounded.shape[1])
        low, high = int(places[0, 0]), int(places[-1, -1]) + 1
        matrix = np.zeros((len(places), high - low), kind)
        matrix[np.arange(len(places))[:, None], places - low] = rounded[part]
        lines = slice(low, min(high, old))  # what is beyond the image is zero
        found.append((lines, matrix[:, : lines.stop - low]))
    return found


def _rounded(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    values += 0.5
    np.floor(values, out=values)
    return np.clip(values, 0, 255, out=values)


def _bits(largest: float) -> int:
    """Bits after the binary point of weights whose largest is this, so that it fits into 16 bits."""
    bits = 0
    while bits < 22 and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    return bits

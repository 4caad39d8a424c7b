"""Pillow's resize in NumPy: equal in every value, for machines without Pillow.

The algorithm: every output pixel is a weighted sum of input pixels under a filter whose support grows with
the factor of a reduction, one pass along each axis, in Pillow 13's order. For uint8 the weights are integers
of 22 bits after the binary point, and each pass rounds to uint8; for float32 sums are float64, and each pass
rounds to float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["resize", "weights"]

_PRECISION = 22
"""Bits after the binary point of the weights for uint8."""


def _box(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


def _triangle(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _hamming(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    base, swing = float(np.float32(0.54)), float(np.float32(0.46))  # float constants in Pillow's C code

    def value(x: float) -> float:
        if x == 0.0 or x >= 1.0:
            return float(x == 0.0)
        x *= math.pi
        return math.sin(x) / x * (base + swing * math.cos(x))

    return np.array([value(abs(each)) for each in x.ravel().tolist()]).reshape(x.shape)


def _cubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    def sinc(value: float) -> float:
        return 1.0 if value == 0.0 else math.sin(value * math.pi) / (value * math.pi)

    # math.sin, as the C library: NumPy's own may differ in the last bit.
    found = [sinc(value) * sinc(value / 3) if -3.0 <= value < 3.0 else 0.0 for value in x.ravel().tolist()]
    return np.array(found).reshape(x.shape)


_FILTERS: dict[str, tuple[Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], float]] = {
    "box": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
"""Each filter, and half its width in pixels."""


def resize(image: npt.NDArray[Any], size: tuple[int, int], filter_name: str) -> npt.NDArray[Any]:
    """Resize an image as ``PIL.Image.resize`` does.

    Args:
        image: uint8 or float32 ``(H, W, C)``.
        size: The new (height, width).
        filter_name: ``nearest``, ``box``, ``bilinear``, ``hamming``, ``bicubic`` or ``lanczos``.

    Returns:
        ``(height, width, C)`` of the same type.
    """
    height, width = size
    if filter_name == "nearest":
        rows, columns = _nearest(image.shape[0], height), _nearest(image.shape[1], width)
        return image[rows[:, None], columns]
    # The order shows in the result, as each pass rounds. Pillow 13 resizes the height first where rows get
    # fewer, by more than twice as many as columns do; its C code before 13 never did.
    fewer_rows, fewer_columns = image.shape[0] - height, image.shape[1] - width
    axes = (0, 1) if fewer_rows > max(2 * fewer_columns, 0) else (1, 0)
    for axis in axes:
        if size[axis] != image.shape[axis]:
            image = _pass(image.swapaxes(0, axis), size[axis], filter_name).swapaxes(0, axis)
    return np.ascontiguousarray(image)


def _nearest(old: int, new: int) -> npt.NDArray[np.intp]:
    scale = old / new
    # Pillow adds the scale step by step.
    positions = np.cumsum(np.concatenate([[scale * 0.5], np.full(new - 1, scale)]))
    return np.minimum(positions.astype(np.intp), old - 1)


def _pass(image: npt.NDArray[Any], length: int, filter_name: str) -> npt.NDArray[Any]:
    """Resize along the first axis."""
    first, exact = weights(image.shape[0], length, filter_name)
    count = exact.shape[1]
    index = np.minimum(first[:, None] + np.arange(count), image.shape[0] - 1)
    result = np.empty((length, *image.shape[1:]), image.dtype)
    if image.dtype == np.uint8:
        whole = np.trunc(exact * (1 << _PRECISION) + np.where(exact < 0, -0.5, 0.5)).astype(np.int64)
        for line in range(length):
            total = np.tensordot(whole[line], image[index[line]].astype(np.int64), axes=1)
            result[line] = np.clip((total + (1 << (_PRECISION - 1))) >> _PRECISION, 0, 255)
        return result
    for line in range(length):
        total = np.zeros(image.shape[1:])
        for position, weight in zip(index[line], exact[line], strict=True):  # in order, as Pillow adds
            total += image[position].astype(np.float64) * weight
        result[line] = total
    return result


def weights(old: int, new: int, filter_name: str) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """For each output line the first input line that counts, and the weights of it and those after it.

    Args:
        old: Lines of the input.
        new: Lines of the output.
        filter_name: Any but ``nearest``.

    Returns:
        ``(new,)`` whole numbers, and ``(new, count)`` weights whose rows add up to 1; those after the last
        line of the input are zero.
    """
    function, half = _FILTERS[filter_name]
    scale = old / new
    reduction = max(scale, 1.0)
    support = half * reduction
    centres = (np.arange(new) + 0.5) * scale
    first = np.maximum((centres - support + 0.5).astype(np.intp), 0)
    last = np.minimum((centres + support + 0.5).astype(np.intp), old)
    places = np.arange(int((last - first).max()))
    found = function((places + first[:, None] - centres[:, None] + 0.5) * (1.0 / reduction))
    found[places >= (last - first)[:, None]] = 0.0
    totals = np.zeros(new)
    for column in found.T:  # in order, as Pillow adds
        totals += column
    totals[totals == 0] = 1.0
    # A product with the inverse would differ in the last bit.
    return first, found / totals[:, None]

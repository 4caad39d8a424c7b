"""An antialiased bilinear resize of scores, as PyTorch computes it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["resize_antialiased"]


def resize_antialiased(plane: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize one plane as ``torch.nn.functional.interpolate`` does with ``bilinear`` and ``antialias``.

    Where the plane shrinks, every value under a pixel counts.

    Args:
        plane: float32 ``(H, W)``.
        size: The new (height, width).
    """
    if plane.shape[1] != size[1]:
        plane = _weighted(plane.T, size[1]).T
    return plane if plane.shape[0] == size[0] else _weighted(plane, size[0])


def _weighted(plane: npt.NDArray[np.float32], length: int) -> npt.NDArray[np.float32]:
    """Resize along the first axis."""
    lines, weights = _weights(len(plane), length)
    with np.errstate(invalid="ignore", over="ignore"):  # infinity times nothing
        result: npt.NDArray[np.float32] = plane[lines[0]] * weights[0][:, None]
        for line, weight in zip(lines[1:], weights[1:], strict=True):
            result += plane[line] * weight[:, None]
    return result


@functools.lru_cache(maxsize=64)
def _weights(old: int, new: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """The input lines of each output line, and their weights: ``(lines, new)`` both.

    PyTorch's arithmetic: float32, with float64 in between where C++ adds 0.5. At large positions the
    rounding of float32 shows in the fifth digit of the result, so it has to be the same.
    """
    single, half = np.float32, np.float64(0.5)
    scale = single(old) / single(new)
    support = max(scale, single(1))
    centres = (np.arange(new) + half) * np.float64(scale)
    centres = centres.astype(single)
    first = np.maximum(((centres - support) + half).astype(np.intp), 0)
    last = np.minimum(((centres + support) + half).astype(np.intp), old)
    taps = np.arange(int((last - first).max()))[:, None]
    shrink = np.float64(single(1) / scale if scale >= 1 else single(1))
    distances: Any = (((taps + first).astype(single) - centres).astype(np.float64) + half) * shrink
    weights = np.maximum(single(1) - np.abs(distances.astype(single)), single(0))
    weights[taps >= last - first] = 0
    totals = np.zeros(new, single)
    for line in weights:
        totals += line
    # A line that does not count repeats the last that does: NaN and infinity reach no other pixel.
    return np.minimum(taps + first, last - 1), weights / totals

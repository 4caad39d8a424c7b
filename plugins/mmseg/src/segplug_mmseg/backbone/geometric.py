"""BEiT's way of resizing a table of relative positions: the centre keeps its scale, the edges are stretched.

The old table's entries are taken to lie at distances from the centre that grow geometrically, so far out
that the last one meets the edge of the new table; a bicubic spline through them is read at whole distances.

mmseg asks SciPy's ``interp2d`` for the spline. SciPy 1.14 removed that, so on a present-day stack mmseg's
own loading ends in an error. SciPy names ``RectBivariateSpline`` as what takes its place on a regular grid.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from segplug.errors import MissingDependencyError

__all__ = ["SMALLEST_EDGE", "stretch"]

SMALLEST_EDGE = 5
"""A cubic spline goes through four points or more, and the edge of a table is odd."""


def stretch(table: torch.Tensor, edge: int, new_edge: int) -> torch.Tensor:
    """Resize the square part of a table of relative positions.

    Args:
        table: ``(edge * edge, heads)``, row by row, any floating dtype.
        edge: Odd, at least :data:`SMALLEST_EDGE`.
        new_edge: Odd.

    Returns:
        ``(new_edge * new_edge, heads)`` in float32, the precision that mmseg rounds to.

    Raises:
        MissingDependencyError: SciPy is not installed.
    """
    try:
        from scipy.interpolate import RectBivariateSpline
    except ImportError as error:
        raise MissingDependencyError(
            "tables of relative positions of another size are resized with SciPy, which is not installed",
            hint='pip install "segplug-mmseg[resize]"',
        ) from error
    outwards = _distances(edge // 2, new_edge // 2)
    old = [-distance for distance in reversed(outwards)] + [0.0, *outwards]
    new = np.arange(new_edge) - new_edge // 2
    heads = table.float().reshape(edge, edge, -1).permute(2, 0, 1).numpy()
    # Transposed before and after, as SciPy says to: interp2d had its columns first.
    stretched = [RectBivariateSpline(old, old, head.T)(new, new).T.ravel() for head in heads]
    return torch.from_numpy(np.stack(stretched, axis=1).astype(np.float32))


def _distances(count: int, reach: int) -> list[float]:
    """``1, 1 + r, 1 + r + r^2, ...``: ``count`` of them, the last at ``reach`` if ``r`` in [1.01, 1.5] can.

    Found by halving with mmseg's own limits and tolerance, since every digit of ``r`` shows in the table.
    Where the last distance falls short of ``reach``, the spline keeps the value of its edge.
    """
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**count) / (1 - ratio) > reach:
            high = ratio
        else:
            low = ratio
    return list(itertools.accumulate(ratio**power for power in range(count)))

"""How BEiT resizes a table of relative positions: the centre keeps its scale, the edges are stretched.

The entries of the old table are placed at distances from the centre that grow geometrically, so that the last
one reaches the edge of the new table. A bicubic spline through them is evaluated at whole distances.

mmseg uses SciPy's ``interp2d`` for the spline. SciPy 1.14 removed it, so mmseg's own loading fails there.
SciPy names ``RectBivariateSpline`` as the replacement on a regular grid.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from segplug.errors import MissingDependencyError

__all__ = ["SMALLEST_EDGE", "stretch"]

SMALLEST_EDGE = 5
"""A cubic spline needs four points or more, and the edge of a table is odd."""


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
    # Transposed before and after, as SciPy advises: interp2d had its columns first.
    stretched = [RectBivariateSpline(old, old, head.T)(new, new).T.ravel() for head in heads]
    return torch.from_numpy(np.stack(stretched, axis=1).astype(np.float32))


def _distances(count: int, reach: int) -> list[float]:
    """``count`` distances ``1, 1 + r, 1 + r + r^2, ...``, the last near ``reach``; ``r`` is in [1.01, 1.5].

    ``r`` is found by bisection with mmseg's own limits and tolerance, since every digit of it shows in the
    table. Where the last distance is below ``reach``, the spline keeps the value of its edge.
    """
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**count) / (1 - ratio) > reach:
            high = ratio
        else:
            low = ratio
    return list(itertools.accumulate(ratio**power for power in range(count)))

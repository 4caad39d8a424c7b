"""Deformable attention over maps of several sizes, as Mask2Former's pixel decoder has it.

Frameworks lay the positions of all maps into one row, and part it again by numbers that they read from a
tensor of sizes; an export freezes those. Here the sizes stay numbers that follow the input, and what lies
between the positions is sampled from each map by what ONNX calls GridSample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .sizes import Size

__all__ = ["DeformableAttention", "cell_centres", "maps_of", "row_of"]

HW = tuple[Size, Size]
Projection = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class DeformableAttention:
    """The layers of a module of deformable attention; each takes and gives (..., C)."""

    values: Projection
    offsets: Projection
    """Gives heads * maps * points * 2 numbers for a position: where to look, in cells, as (x, y)."""
    weights: Projection
    """Gives heads * maps * points numbers for a position: how much of each it takes, before the softmax."""
    output: Projection
    heads: int
    points: int
    """How many points of each map a position looks at."""

    def __call__(self, row: Tensor, sizes: Sequence[HW], position: Tensor, place: Tensor) -> Tensor:
        """What each position takes from all maps.

        Args:
            row: (N, L, C), the positions of all maps: see :func:`row_of`.
            sizes: The maps' heights and widths.
            position: (L, C), added where a position asks.
            place: (L, 2), where each position lies in its map: see :func:`cell_centres`.

        Returns:
            (N, L, C).
        """
        shape, query = (self.heads, len(sizes), self.points), row + position
        offsets = self.offsets(query).unflatten(-1, (*shape, 2))  # type: ignore[no-untyped-call]
        weights = self.weights(query).unflatten(-1, (shape[0], shape[1] * shape[2]))  # type: ignore[no-untyped-call]
        weights = weights.softmax(dim=-1).unflatten(-1, shape[1:])
        found = torch.zeros((), device=row.device)
        for level, x in enumerate(maps_of(self.values(row), sizes)):
            size = torch.stack([_number(length, row) for length in (x.shape[3], x.shape[2])])
            at = place[:, None, None, :] + offsets[:, :, :, level] / size
            found = found + _sampled(_by_head(x, self.heads), at, weights[:, :, :, level])
        found = found.unflatten(0, (row.shape[0], self.heads))  # type: ignore[no-untyped-call]
        return self.output(found.flatten(1, 2).transpose(1, 2))


def row_of(maps: Sequence[Tensor]) -> Tensor:
    """(N, L, C), of maps (N, C, H, W): their positions in rows, one map after the other."""
    return torch.cat([x.flatten(2) for x in maps], dim=2).transpose(1, 2)


def maps_of(row: Tensor, sizes: Sequence[HW]) -> list[Tensor]:
    """(N, C, H, W) of each size, of (N, L, C)."""
    parts = row.transpose(1, 2).split([height * width for height, width in sizes], dim=2)  # type: ignore[no-untyped-call]
    return [part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]


def cell_centres(size: HW, like: Tensor, *, offset: float = 0.5) -> Tensor:
    """(H, W, 2): where each cell lies as (x, y) from 0 to 1: its middle, or another ``offset`` in it."""
    rows, columns = (
        (torch.arange(length, device=like.device) + offset) / _number(length, like) for length in size
    )
    return torch.stack((columns[None, :].expand(size), rows[:, None].expand(size)), dim=-1)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """(N, heads * D, H, W) as (N * heads, D, H, W)."""
    split: Tensor = x.unflatten(1, (heads, x.shape[1] // heads))  # type: ignore[no-untyped-call]
    return split.flatten(0, 1)


def _sampled(value: Tensor, at: Tensor, weights: Tensor) -> Tensor:
    """(N * heads, D, L): each position's weighted points of ``value``, (N * heads, D, H, W).

    Args:
        value: One map.
        at: (N, L, heads, points, 2), as (x, y), 0 to 1 in the map.
        weights: (N, L, heads, points).
    """
    grid = (2 * at - 1).transpose(1, 2).flatten(0, 1)
    found = F.grid_sample(value, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (found * weights.transpose(1, 2).flatten(0, 1).unsqueeze(1)).sum(dim=-1)


def _number(length: Size, like: Tensor) -> Tensor:
    """A length as a tensor, since it may be known only later."""
    return torch.full((), length, device=like.device)

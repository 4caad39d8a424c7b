"""Deformable attention over maps of several sizes, as Mask2Former's pixel decoder has it.

Frameworks lay the positions of all maps into one row, and part it again by numbers that they read from a
tensor of sizes; an export freezes those. Here each map keeps its height and width, and what lies between
them is sampled from one map for the positions of another: ONNX has GridSample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .sizes import Size

__all__ = ["DeformableAttention", "cell_centres"]

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

    def __call__(
        self, maps: Sequence[Tensor], positions: Sequence[Tensor], places: Sequence[Tensor]
    ) -> list[Tensor]:
        """What each position takes from all maps.

        Args:
            maps: (N, H, W, C), of several sizes.
            positions: What is added to each map where it asks, (H, W, C).
            places: Where the cells of each map lie: see :func:`cell_centres`.

        Returns:
            For each map (N, H, W, C).
        """
        values = [_by_head(self.values(x).permute(0, 3, 1, 2), self.heads) for x in maps]
        asking = zip(maps, positions, places, strict=True)
        return [self.output(self._taken(x + position, place, values)) for x, position, place in asking]

    def _taken(self, query: Tensor, place: Tensor, values: Sequence[Tensor]) -> Tensor:
        shape = self.heads, len(values), self.points
        offsets = self.offsets(query).unflatten(-1, (*shape, 2))  # type: ignore[no-untyped-call]
        weights = self.weights(query).unflatten(-1, (shape[0], shape[1] * shape[2]))  # type: ignore[no-untyped-call]
        weights = weights.softmax(dim=-1).unflatten(-1, shape[1:])
        found = torch.zeros((), device=query.device)
        for level, value in enumerate(values):
            size = torch.stack([_number(length, query) for length in (value.shape[3], value.shape[2])])
            at = place[:, :, None, None, :] + offsets[:, :, :, :, level] / size
            found = found + _sampled(value, at, weights[:, :, :, :, level])
        found = found.unflatten(0, (query.shape[0], self.heads))  # type: ignore[no-untyped-call]
        return found.flatten(1, 2).permute(0, 2, 3, 1)


def cell_centres(size: tuple[Size, Size], like: Tensor, *, offset: float = 0.5) -> Tensor:
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
    """(N * heads, D, h, w): each position's weighted points of ``value``, (N * heads, D, H, W).

    Args:
        value: One map.
        at: (N, h, w, heads, points, 2), as (x, y), 0 to 1 in the map.
        weights: (N, h, w, heads, points).
    """
    width, points = at.shape[2], at.shape[4]
    grid = (2 * at - 1).permute(0, 3, 1, 2, 4, 5).flatten(0, 1).flatten(2, 3)
    found = F.grid_sample(value, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    by_point: Tensor = found.unflatten(-1, (width, points))  # type: ignore[no-untyped-call]
    return (by_point * weights.permute(0, 3, 1, 2, 4).flatten(0, 1).unsqueeze(1)).sum(dim=-1)


def _number(length: Size, like: Tensor) -> Tensor:
    """A length as a tensor, since it may be known only later."""
    return torch.full((), length, device=like.device)

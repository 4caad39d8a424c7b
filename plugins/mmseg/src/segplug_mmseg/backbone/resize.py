"""Tables of positions, resized to a network's size as mmseg 0.30 does when it loads pretrained weights.

Each function here follows ``init_weights`` of one backbone. Where mmseg cannot resize a table (it raises, or
warns and goes on without the table, or would use numbers of the wrong tokens), this module does not either,
and the table keeps its shape. So does ``absolute_pos_embed`` of a SwinTransformer: mmseg wants one of the
network's own size only (another is "Error in loading absolute_pos_embed, pass"), and fails even then: it
unpacks the network's table, which has 3 dimensions, into 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from segplug_mmseg.backbone.geometric import SMALLEST_EDGE, stretch

__all__ = ["ResizedTable", "resize"]

_TABLE = "relative_position_bias_table"


@dataclass(frozen=True)
class ResizedTable:
    """A table of the network's size, in its old dtype, and how it was resized in a few words."""

    values: Tensor
    how: str


def resize(backbone: Any, name: str, table: Tensor, shape: torch.Size) -> ResizedTable | None:
    """Resize ``table``, which is called ``name`` in ``backbone``, to ``shape``.

    Half precision is resized in float32 and rounded once, at the end. ``table`` itself is not changed.

    Returns:
        ``None`` if mmseg cannot resize it.

    Raises:
        MissingDependencyError: a table of BEiT needs SciPy, which is not installed.
    """
    from mmseg.models.backbones import MAE, BEiT, SwinTransformer, VisionTransformer

    # Positions are the second-last dimension of every table; the others must be equal.
    same_otherwise = table.dim() == len(shape) and _others(table.shape) == _others(shape)
    if not same_otherwise or not table.is_floating_point():
        return None
    values = table.detach()
    values = values.float() if values.element_size() < 4 else values
    resized = None
    if name == "pos_embed" and isinstance(backbone, VisionTransformer):
        resized = _vision_transformer(backbone, values)
    elif name == "pos_embed" and isinstance(backbone, MAE):
        resized = _mae(backbone, values)
    elif name.endswith(_TABLE) and isinstance(backbone, SwinTransformer):
        resized = _swin(values, shape)
    elif name.endswith(_TABLE) and isinstance(backbone, BEiT):
        resized = _beit(backbone, values, shape)
    if resized is None or resized.values.shape != shape:
        return None
    return ResizedTable(resized.values.to(table.dtype), resized.how)


def _vision_transformer(backbone: Any, table: Tensor) -> ResizedTable | None:
    """``(1, 1 + rows * columns, C)``, of a square: the class token stays, the others are interpolated."""
    edge = _root(table.shape[1] - 1)
    if edge is None:
        return None
    rows, columns = (side // backbone.patch_size for side in backbone.img_size)
    mode = backbone.interpolate_mode
    values = backbone.resize_pos_embed(table, (rows, columns), (edge, edge), mode)
    return ResizedTable(values, _how(mode, edge, rows, columns))


def _mae(backbone: Any, table: Tensor) -> ResizedTable | None:
    """The same, from a square to a square, always bicubic."""
    edge, (new_edge, columns) = _root(table.shape[1] - 1), backbone.patch_shape
    if edge is None or new_edge != columns:
        return None
    token, grid = table[:, :1], table[:, 1:].reshape(1, edge, edge, -1).permute(0, 3, 1, 2)
    grid = interpolate(grid, size=(new_edge, new_edge), mode="bicubic", align_corners=False)
    values = torch.cat((token, grid.permute(0, 2, 3, 1).flatten(1, 2)), dim=1)
    return ResizedTable(values, _how("bicubic", edge, new_edge, new_edge))


def _swin(table: Tensor, shape: torch.Size) -> ResizedTable | None:
    """``((2 * window - 1)^2, heads)``."""
    edge, new_edge = _odd_root(table.shape[0]), _odd_root(shape[0])
    if edge is None or new_edge is None:
        return None
    grid = table.permute(1, 0).reshape(1, -1, edge, edge)
    grid = interpolate(grid, size=(new_edge, new_edge), mode="bicubic")
    values = grid.flatten(2)[0].permute(1, 0).contiguous()
    return ResizedTable(values, _how("bicubic", edge, new_edge, new_edge))


def _beit(backbone: Any, table: Tensor, shape: torch.Size) -> ResizedTable | None:
    """``((2 * rows - 1) * (2 * columns - 1) + 3, heads)``; the last three are the class token's, and stay."""
    rows, columns = (2 * side - 1 for side in backbone.patch_shape)
    extra = shape[0] - rows * columns
    edge = _odd_root(table.shape[0] - extra)
    if rows != columns or edge is None or edge < SMALLEST_EDGE:
        return None
    values = torch.cat((stretch(table[:-extra], edge, rows), table[-extra:]))
    return ResizedTable(values, _how("cubic on a geometric progression", edge, rows, columns))


def _others(shape: torch.Size) -> tuple[int, ...]:
    return (*shape[:-2], *shape[-1:])


def _how(method: str, edge: int, rows: int, columns: int) -> str:
    return f"{method}, {edge}x{edge} to {rows}x{columns}"


def _root(count: int) -> int | None:
    """The edge of a square of ``count`` entries, if it is one."""
    edge = math.isqrt(max(count, 0))
    return edge if edge and edge * edge == count else None


def _odd_root(count: int) -> int | None:
    """The same for a table of relative positions, whose edge is odd."""
    edge = _root(count)
    return edge if edge and edge % 2 else None

"""Adaptive average pooling to a grid that the input's size does not divide, or that is only known later.

Exporters freeze the borders of the cells as the sample has them. Pooling one axis is a product with a small
matrix, whose rows average the input cells that one output cell covers. The matrix is computed from the
length of the axis, so the graph can make it for every size that arrives.

``F.interpolate`` of the mode "area" is this pooling by another name, and frozen as the sample has it, too.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import function_form
from .sizes import Size

__all__ = ["adaptive_avg_pool2d", "interpolate"]


@function_form(F.adaptive_avg_pool2d)
def adaptive_avg_pool2d(input: Tensor, output_size: int | tuple[int | None, int | None]) -> Tensor:
    """``F.adaptive_avg_pool2d`` for (N, C, H, W) that follows H and W."""
    rows, columns = (output_size, output_size) if isinstance(output_size, int) else output_size
    height, width = input.shape[-2:]
    if (rows, columns) == (1, 1):
        return input.mean(dim=(-2, -1), keepdim=True)
    if _divides(rows, height) and _divides(columns, width):
        return F.adaptive_avg_pool2d(input, output_size)  # one plain AveragePool
    pooled = input
    if columns is not None:
        pooled = pooled @ _averaging(width, columns, input).transpose(0, 1)
    if rows is not None:
        pooled = _averaging(height, rows, input) @ pooled
    return pooled


@function_form(F.interpolate)
def interpolate(
    input: Tensor,
    size: Size | tuple[Size, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: str = "nearest",
    *others: Any,
    **more: Any,
) -> Tensor:
    """``F.interpolate``, where "area" to a given size follows the (N, C, H, W) input."""
    if mode == "area" and size is not None and input.dim() == 4:
        return adaptive_avg_pool2d(input, size if isinstance(size, int) else (size[0], size[1]))
    return F.interpolate(input, size, scale_factor, mode, *others, **more)


def _divides(cells: int | None, length: Size) -> bool:
    """Whether each of ``cells`` covers the same whole number of input cells, for this and every sample."""
    return cells is None or (isinstance(length, int) and length % cells == 0)


def _averaging(length: Size, cells: int, like: Tensor) -> Tensor:
    """(cells, length): row i averages the input cells from floor(i n / k) to ceil((i + 1) n / k) - 1."""
    cell = torch.arange(cells, device=like.device)[:, None]
    position = torch.arange(length, device=like.device)[None, :]
    # start <= p < end, in whole numbers without a division: i n < (p + 1) k and p k < (i + 1) n
    covered = (cell * length < (position + 1) * cells) & (position * cells < (cell + 1) * length)
    weight = covered.to(like.dtype)
    return weight / weight.sum(dim=1, keepdim=True)

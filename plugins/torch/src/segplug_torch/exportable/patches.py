"""Patches that lie side by side: a map is cut into them, or put together from them, by reshapes.

``F.unfold`` is exported as index arithmetic over the whole map, and ``F.fold`` as ``Col2Im``, which TensorRT
does not know. Where patches neither overlap nor leave gaps both only order values anew.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import function_form
from .sizes import Size

__all__ = ["fold", "unfold"]

_Pair = int | tuple[int, ...]


@function_form(F.unfold)
def unfold(
    input: Tensor, kernel_size: _Pair, dilation: _Pair = 1, padding: _Pair = 0, stride: _Pair = 1
) -> Tensor:
    """``F.unfold``: (N, C, H, W) as (N, C x values of a patch, patches)."""
    if input.dim() != 4 or not _side_by_side(kernel_size, dilation, padding, stride):
        return F.unfold(input, kernel_size, dilation, padding, stride)
    height, width = _pair(kernel_size)
    batch, channels = input.shape[:2]
    rows, columns = input.shape[2] // height, input.shape[3] // width
    covered = _first(_first(input, 2, rows * height), 3, columns * width)  # what is left over is in no patch
    patches = covered.reshape(batch, channels, rows, height, columns, width).permute(0, 1, 3, 5, 2, 4)
    return patches.reshape(batch, channels * height * width, rows * columns)


@function_form(F.fold)
def fold(
    input: Tensor,
    output_size: Size | tuple[Size, ...],
    kernel_size: _Pair,
    dilation: _Pair = 1,
    padding: _Pair = 0,
    stride: _Pair = 1,
) -> Tensor:
    """``F.fold``: (N, C x values of a patch, patches) as (N, C, H, W); where no patch lies, 0."""
    if input.dim() != 3 or not _side_by_side(kernel_size, dilation, padding, stride):
        return F.fold(input, output_size, kernel_size, dilation, padding, stride)
    height, width = _pair(kernel_size)
    size = _pair(output_size)
    rows, columns = size[0] // height, size[1] // width
    batch, channels = input.shape[0], input.shape[1] // (height * width)
    grid = input.reshape(batch, channels, height, width, rows, columns).permute(0, 1, 4, 2, 5, 3)
    covered = grid.reshape(batch, channels, rows * height, columns * width)
    rest = size[0] - rows * height, size[1] - columns * width
    if all(isinstance(length, int) and length == 0 for length in rest):  # a symbol is not asked
        return covered
    return F.pad(covered, (0, rest[1], 0, rest[0]))


def _first(input: Tensor, axis: int, count: Size) -> Tensor:
    """The first ``count`` along ``axis``."""
    if isinstance(count, int):
        return input.narrow(axis, 0, count)
    # A slice would be left out for every size if it takes all of the sample.
    return input.index_select(axis, torch.arange(count, device=input.device))


def _side_by_side(kernel_size: _Pair, dilation: _Pair, padding: _Pair, stride: _Pair) -> bool:
    return _pair(stride) == _pair(kernel_size) and _pair(dilation) == (1, 1) and _pair(padding) == (0, 0)


def _pair(lengths: Size | tuple[Size, ...]) -> tuple[Size, Size]:
    """Of height and width; torch takes one number for both, alone or in a tuple."""
    both = lengths if isinstance(lengths, (tuple, list)) else (lengths,)
    return both[0], both[-1]

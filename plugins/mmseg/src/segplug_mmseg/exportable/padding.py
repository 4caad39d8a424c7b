"""Padding up to what a kernel or a grid of blocks needs, from a size that is only known later.

mmseg and mmcv ask "is any padding needed?" of the sample they see, and an export would freeze the answer.
Here the padding is a number that follows the size, and is 0 where nothing is needed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import method_form

__all__ = ["Size", "blocks", "needed_padding"]

Size = int
"""A length in pixels or cells: a number, or while exporting a ``torch.SymInt``, which acts as one."""


def blocks(length: Size, size: int) -> Size:
    """How many blocks of ``size`` cover ``length``."""
    return (length + size - 1) // size


def needed_padding(length: Size, kernel: int, stride: int, dilation: int = 1) -> Size:
    """What to add to ``length`` so that a kernel at every ``stride`` covers all of it."""
    reach = (kernel - 1) * dilation + 1
    # Once this is added to the length, blocks * stride is left, which the exporter sees to be divisible;
    # the equal (-length) % stride would tell it nothing.
    padding = blocks(length, stride) * stride - length + (reach - stride)
    return padding if reach >= stride else torch.sym_max(padding, 0)  # type: ignore[no-untyped-call]


@method_form("mmseg.models.utils.embed.AdaptivePadding")
def _adaptive_padding(self: Any, x: Tensor) -> Tensor:
    (top, bottom), (left, right) = (
        _split(needed_padding(*axis), self.padding)
        for axis in zip(x.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True)
    )
    return _pad(x, (left, right, top, bottom))


@method_form("mmcv.cnn.bricks.conv2d_adaptive_padding.Conv2dAdaptivePadding")
def _conv2d_adaptive_padding(self: Any, x: Tensor) -> Tensor:
    (top, bottom), (left, right) = (
        _split(needed_padding(*axis), "same")
        for axis in zip(x.shape[2:], self.weight.shape[2:], self.stride, self.dilation, strict=True)
    )
    x = _pad(x, (left, right, top, bottom))
    return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def _split(padding: Size, where: str) -> tuple[Size, Size]:
    before = padding // 2 if where == "same" else 0
    return before, padding - before


def _pad(x: Tensor, sides: tuple[Size, Size, Size, Size]) -> Tensor:
    nothing = all(isinstance(side, int) and side == 0 for side in sides)
    return x if nothing else F.pad(x, sides)

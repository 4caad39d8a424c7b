"""The padding of mmseg's ``AdaptivePadding`` and mmcv's padded convolution, for a size that is known later.

mmseg and mmcv ask "is any padding needed?" of the sample that they see, and an export would freeze the
answer. Here the padding is a number that follows the size, and is 0 where nothing is needed.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form
from segplug_torch.exportable.sizes import Size, needed_padding
from torch import Tensor

__all__: list[str] = []


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

"""TensorFlow's padding of timm's and EfficientNet's layers, which follows the size of the map.

Both compute it with fractions that are rounded up, and ``max``. An export follows them, but simplifies none
of it: after five layers, it takes a minute to prove that the formulas of the sizes of a map agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form
from segplug_torch.exportable.sizes import needed_padding
from torch import Tensor

__all__: list[str] = []


def _padded(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int] = (1, 1),
    value: float = 0.0,
) -> Tensor:
    """(N, C, H, W) with ``value`` around it, so that the kernel at every stride covers all; more behind."""
    padding = []
    for axis in (1, 0):  # the width first, as F.pad wants it
        needed = needed_padding(x.shape[2 + axis], kernel[axis], stride[axis], dilation[axis])
        padding += [needed // 2, needed - needed // 2]
    return F.pad(x, padding, value=value)


@method_form(
    "timm.layers.conv2d_same.Conv2dSame",
    "segmentation_models_pytorch.encoders._efficientnet.Conv2dDynamicSamePadding",
)
def _convolution(self: Any, x: Tensor) -> Tensor:
    x = _padded(x, self.kernel_size, self.stride, self.dilation)
    return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


@method_form("timm.layers.pool2d_same.MaxPool2dSame")
def _max_pool(self: Any, x: Tensor) -> Tensor:
    x = _padded(x, self.kernel_size, self.stride, self.dilation, -float("inf"))
    return F.max_pool2d(x, self.kernel_size, self.stride, 0, self.dilation, self.ceil_mode)


@method_form("timm.layers.pool2d_same.AvgPool2dSame")
def _average_pool(self: Any, x: Tensor) -> Tensor:
    x = _padded(x, self.kernel_size, self.stride)
    return F.avg_pool2d(x, self.kernel_size, self.stride, 0, self.ceil_mode, self.count_include_pad)


@method_form("timm.layers.std_conv.StdConv2dSame")
def _standardised(self: Any, x: Tensor) -> Tensor:
    from timm.layers import StdConv2d

    return _with_own_padding(self, x, StdConv2d.forward)


@method_form("timm.layers.std_conv.ScaledStdConv2dSame")
def _scaled(self: Any, x: Tensor) -> Tensor:
    from timm.layers import ScaledStdConv2d

    return _with_own_padding(self, x, ScaledStdConv2d.forward)


def _with_own_padding(self: Any, x: Tensor, forward: Callable[[Any, Tensor], Tensor]) -> Tensor:
    """What the class gives that is the same but for its padding."""
    return forward(self, _padded(x, self.kernel_size, self.stride, self.dilation) if self.same_pad else x)

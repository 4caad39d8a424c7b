"""Convolutions whose weights are standardised in each run, of timm's BiT and NFNet.

timm does it with a batch normalisation in training mode, which exporters refuse or write as training. Here
mean and variance are computed as they are defined; an exporter folds them into the weights.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form
from torch import Tensor

from .same_padding import padded

__all__: list[str] = []


@method_form("timm.layers.std_conv.StdConv2d", "timm.layers.std_conv.StdConv2dSame")
def _standardised(self: Any, x: Tensor) -> Tensor:
    return _convolution(self, x, _weight(self))


@method_form("timm.layers.std_conv.ScaledStdConv2d", "timm.layers.std_conv.ScaledStdConv2dSame")
def _scaled(self: Any, x: Tensor) -> Tensor:
    return _convolution(self, x, _weight(self) * (self.gain * self.scale))


def _weight(self: Any) -> Tensor:
    """The weights, with mean 0 and variance 1 for each output channel."""
    axes = (1, 2, 3)
    centred: Tensor = self.weight - self.weight.mean(dim=axes, keepdim=True)
    return centred * (centred.square().mean(dim=axes, keepdim=True) + self.eps).rsqrt()


def _convolution(self: Any, x: Tensor, weight: Tensor) -> Tensor:
    if getattr(self, "same_pad", False):
        x = padded(x, self.kernel_size, self.stride, self.dilation)
    return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

"""TensorFlow's padding of MobileNetV2's convolutions, which follows the size of the map."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sizes import needed_padding
from torch import Tensor

__all__: list[str] = []


@method_form("transformers.models.mobilenet_v2.modeling_mobilenet_v2.MobileNetV2ConvLayer")
def _conv_layer(self: Any, features: Tensor) -> Tensor:
    if not self.config.tf_padding:
        passed: Tensor = original_forward(self)(features)
        return passed
    conv = self.convolution
    padding = []
    for axis in (1, 0):  # the width first, as F.pad wants it
        needed = needed_padding(features.shape[2 + axis], conv.kernel_size[axis], conv.stride[axis])
        before = needed // 2
        padding += [before * conv.dilation[axis], (needed - before) * conv.dilation[axis]]
    x: Tensor = conv(F.pad(features, padding))
    for layer in (self.normalization, self.activation):
        x = x if layer is None else layer(x)
    return x

"""Layers of timm and EfficientNet with TensorFlow's padding, those with standardised weights, too."""

from __future__ import annotations

import pytest
import torch
from segmentation_models_pytorch.encoders._efficientnet import Conv2dDynamicSamePadding
from segplug_smp.exportable import make_exportable
from smp_support.comparing import distance, followed
from timm.layers import ScaledStdConv2dSame, StdConv2dSame
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import nn

from segplug.testing import randomise

LAYERS = {
    "stride": lambda: Conv2dSame(4, 4, 3, 2),
    "dilation": lambda: Conv2dSame(4, 4, (5, 3), (3, 2), dilation=2),
    "narrow": lambda: Conv2dSame(4, 4, 1, 2),
    "efficientnet": lambda: Conv2dDynamicSamePadding(4, 4, 3, 2),
    "max": lambda: MaxPool2dSame(3, 2),
    "average": lambda: AvgPool2dSame(3, 2),
    "covered": lambda: AvgPool2dSame(2, 2, ceil_mode=True, count_include_pad=False),
    "standardised": lambda: StdConv2dSame(4, 4, 3, 2),
    "scaled": lambda: ScaledStdConv2dSame(4, 4, 3, 2),
}


def layer(name: str) -> nn.Module:
    made = LAYERS[name]()
    randomise(made)
    return nn.Sequential(made).eval()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name: str) -> None:
    network = layer(name)
    for size in [(8, 12), (7, 12), (9, 5), (11, 13)]:
        x = torch.randn(2, 4, *size)
        assert distance(network(x), make_exportable(network)(x)) < 1e-5, size


def test_one_program_follows_the_size() -> None:
    network = nn.Sequential(*(layer(name) for name in ("stride", "max", "standardised")))
    program = followed(make_exportable(network), (2, 4, 100, 140))
    for shape in [(1, 4, 64, 96), (3, 4, 65, 83)]:
        x = torch.randn(shape)
        assert distance(network(x), program(x)) < 1e-5, shape

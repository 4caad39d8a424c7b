"""MobileNetV2's convolutions with TensorFlow's padding, which depends on the size of the map."""

from __future__ import annotations

import pytest
import torch
import transformers
from segplug_transformers.exportable import make_exportable
from torch import nn
from transformers.models.mobilenet_v2.modeling_mobilenet_v2 import MobileNetV2ConvLayer
from transformers_support.comparing import distance, exported, randomised

SIZES = [(8, 12), (7, 12), (9, 5), (3, 4), (1, 2)]


def layers(*shapes: tuple[int, int, int], tf_padding: bool = True) -> nn.Module:
    """Convolutions of the given (kernel, stride, dilation)."""
    config = transformers.MobileNetV2Config(tf_padding=tf_padding)
    return randomised(
        nn.Sequential(
            *(
                MobileNetV2ConvLayer(config, 4, 4, kernel, stride, dilation=dilation)
                for kernel, stride, dilation in shapes
            )
        )
    )


@pytest.mark.parametrize("shape", [(3, 2, 1), (3, 1, 1), (3, 1, 2), (1, 1, 1), (1, 2, 1), (5, 3, 1)])
@pytest.mark.parametrize("tf_padding", [True, False])
def test_layer(shape, tf_padding):
    network = layers(shape, tf_padding=tf_padding)
    for size in SIZES:
        x = torch.randn(2, 4, *size)
        assert distance(network(x), make_exportable(network)(x)) < 1e-6, size


def test_one_file_follows_the_size(tmp_path):
    network = layers((3, 2, 1), (3, 1, 2), (3, 2, 1), (1, 2, 1))
    file = exported(make_exportable(network), (2, 4, 50, 70), tmp_path / "layers.onnx")
    for size in [(32, 32), (31, 32), (33, 34), (35, 47), (1, 2)]:
        x = torch.randn(3, 4, *size)
        assert distance(network(x), file(x)) < 1e-5, size

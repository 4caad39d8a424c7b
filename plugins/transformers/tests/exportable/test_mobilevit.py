"""MobileViT's patches on maps that patches do not divide."""

from __future__ import annotations

import pytest
import torch
import transformers
from segplug_transformers.exportable import make_exportable
from torch import nn
from transformers.models.mobilevit.modeling_mobilevit import MobileViTLayer
from transformers_support.comparing import distance, exported, randomised

SIZES = [(8, 12), (7, 12), (9, 5), (3, 3), (2, 2)]


def layer(stride: int, patch: int = 2) -> nn.Module:
    config = transformers.MobileViTConfig(num_attention_heads=2, patch_size=patch)
    made = MobileViTLayer(config, in_channels=6, out_channels=8, stride=stride, hidden_size=12, num_stages=1)
    return randomised(made)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("patch", [2, 3])
def test_layer(stride, patch):
    network = layer(stride, patch)
    for size in SIZES:
        x = torch.randn(2, 6, *size)
        assert distance(network(x), make_exportable(network)(x)) < 1e-5, size


def test_one_file_follows_the_size(tmp_path):
    network = layer(1)
    file = exported(make_exportable(network), (2, 6, 30, 42), tmp_path / "layer.onnx")
    for size in SIZES:
        x = torch.randn(3, 6, *size)
        assert distance(network(x), file(x)) < 1e-5, size

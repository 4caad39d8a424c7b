"""Embeddings at sizes that their position table was not made for."""

from __future__ import annotations

import pytest
import torch
import transformers
from segplug_transformers.exportable import make_exportable
from torch import nn
from transformers.models.beit.modeling_beit import BeitEmbeddings
from transformers.models.dinov2.modeling_dinov2 import Dinov2Embeddings
from transformers.models.dinov2_with_registers.modeling_dinov2_with_registers import (
    Dinov2WithRegistersEmbeddings,
)
from transformers.models.tipsv2.modeling_tipsv2 import Tipsv2VisionEmbeddings
from transformers_support.comparing import distance, exported, randomised

TRAINED = 64
SIZES = [
    (TRAINED, TRAINED),
    (TRAINED, 71),  # as many patches, which a table that is resized to its own size has, too
    (32, 128),  # as many patches in another shape
    (40, 40),  # fewer: the table is made smaller
    (16, 16),
    (135, 205),
]

SETTINGS = {"image_size": TRAINED, "patch_size": 16, "hidden_size": 8, "num_attention_heads": 2}


def embeddings(name: str) -> nn.Module:
    made: dict[str, nn.Module] = {
        "beit": BeitEmbeddings(transformers.BeitConfig(**SETTINGS, use_absolute_position_embeddings=True)),
        "dinov2": Dinov2Embeddings(transformers.Dinov2Config(**SETTINGS)),
        "registers": Dinov2WithRegistersEmbeddings(transformers.Dinov2WithRegistersConfig(**SETTINGS)),
        "tipsv2": Tipsv2VisionEmbeddings(transformers.Tipsv2VisionConfig(**SETTINGS)),
    }
    return randomised(made[name])


@pytest.mark.parametrize("name", ["beit", "dinov2", "registers", "tipsv2"])
def test_one_file_gives_the_positions_of_every_size(name, tmp_path):
    network = embeddings(name)
    file = exported(make_exportable(network), (2, 3, 96, 128), tmp_path / "positions.onnx")
    trace = torch.jit.trace(make_exportable(network), torch.zeros(2, 3, 96, 128), check_trace=False)
    for size in SIZES:
        x = torch.randn(2, 3, *size)
        assert distance(network(x), make_exportable(network)(x)) < 1e-5, size
        assert distance(network(x), file(x)) < 1e-5, size
        assert distance(network(x), trace(x)) < 1e-5, size
        without = network(x)
        table = network.position_embeddings.data
        network.position_embeddings.data = torch.zeros_like(table)
        assert distance(network(x), without) > 1e-2, size
        network.position_embeddings.data = table

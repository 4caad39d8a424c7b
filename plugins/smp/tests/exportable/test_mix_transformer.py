"""The encoders of SegFormer on maps that nothing divides."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from segmentation_models_pytorch.encoders import mix_transformer
from segplug_smp.exportable import make_exportable
from smp_support.comparing import distance, followed
from torch import nn

from segplug.testing import randomise

CHANNELS, NORM = 12, partial(mix_transformer.LayerNorm, eps=1e-6)


def block(reduction: int) -> nn.Module:
    made = mix_transformer.Block(
        CHANNELS, 3, qkv_bias=True, sr_ratio=reduction, norm_layer=NORM, drop_path=0.1
    )
    randomise(made)
    return made.eval()


@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_a_block(reduction: int) -> None:
    network = block(reduction)
    for size in [(8, 12), (7, 13), (5, 4)]:
        x = torch.randn(2, CHANNELS, *size)
        assert distance(network(x), make_exportable(network)(x)) < 1e-5, size


def test_the_norm_of_tokens_and_of_a_map() -> None:
    norm = NORM(CHANNELS)
    randomise(norm)
    for shape in [(2, 5, CHANNELS), (2, CHANNELS, 5, 7)]:
        x = torch.randn(shape)
        assert distance(norm(x), make_exportable(norm)(x)) < 1e-6


@pytest.mark.slow
def test_one_program_follows_the_size() -> None:
    network = nn.Sequential(mix_transformer.OverlapPatchEmbed(7, 4, 2, 3, CHANNELS), block(2), NORM(CHANNELS))
    network.eval()
    program = followed(make_exportable(network), (2, 3, 50, 70))
    for shape in [(1, 3, 32, 40), (3, 3, 31, 45)]:
        x = torch.randn(shape)
        assert distance(network(x), program(x)) < 1e-5, shape

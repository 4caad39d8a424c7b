"""SAN's text encoder, folded into a constant, gives what mmseg's own does."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.text_tower import fold_text_encoder
from torch import nn

from segplug.testing import randomise

NAMES = ["cat", "a thing with a much longer name, of many words", "pottedplant"]


class Network(nn.Module):
    def __init__(self, **options: object) -> None:
        import_mmseg()
        from mmengine.registry import DefaultScope
        from mmseg.models.text_encoder import CLIPTextEncoder

        super().__init__()
        with DefaultScope.overwrite_default_scope("mmseg"):
            self.text_encoder = CLIPTextEncoder(
                templates=["a photo of a {}.", "{}", "there is a {} in the scene."],
                embed_dims=32,
                num_layers=2,
                num_heads=2,
                output_dims=16,
                **options,
            )
        randomise(self)
        self.eval()


@pytest.mark.filterwarnings("ignore:Use same attn_mask")
@pytest.mark.parametrize(
    "options",
    [
        {"vocabulary": NAMES},
        {"vocabulary": NAMES, "cache_feature": False, "cat_bg": False},
        {"dataset_name": "voc"},
    ],
)
def test_the_constant(options):
    network = Network(**options)
    with torch.no_grad():
        expected = Network(**options).text_encoder()
    fold_text_encoder(network)
    assert list(network.parameters()) == []
    actual = network.text_encoder()
    assert actual.shape == expected.shape
    assert expected.std() > 0.1
    assert (actual - expected).abs().max() / expected.abs().max() < 1e-6


def test_a_network_without_one_is_left_alone():
    network = nn.Module()
    network.text_encoder = nn.Linear(1, 1)
    fold_text_encoder(network)
    assert isinstance(network.text_encoder, nn.Linear)

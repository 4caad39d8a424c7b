"""SegFormer's backbone with its maps kept maps."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.exportable import make_exportable


@pytest.mark.parametrize("size", [(64, 64), (95, 130), (33, 70)])
def test_backbone(size, mmseg, randomised, distance):
    from mmseg.models.backbones import MixVisionTransformer

    network = randomised(
        MixVisionTransformer(
            embed_dims=4, num_layers=[2, 1, 1, 1], num_heads=[1, 2, 2, 4], out_indices=(0, 2, 3)
        )
    )
    x = torch.randn(2, 3, *size)
    for expected, actual in zip(network(x), make_exportable(network)(x), strict=True):
        assert distance(expected, actual) < 1e-5


def test_feed_forward_on_a_list_of_tokens(mmseg, randomised, distance):
    from mmseg.models.backbones.mit import MixFFN

    network, x = randomised(MixFFN(4, 8)), torch.randn(2, 5 * 9, 4)
    exportable = make_exportable(network)
    for identity in (None, torch.randn_like(x)):
        assert distance(network(x, (5, 9), identity), exportable(x, (5, 9), identity)) < 1e-5

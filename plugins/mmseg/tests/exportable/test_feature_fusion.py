"""DPT's fusion of maps whose sizes are equal for some inputs and not for others."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.exportable import make_exportable
from torch import nn


class HalfAndWhole(nn.Module):
    """Two maps as DPT's head sees them: doubled, the half is as large as the whole only if that is even."""

    def __init__(self) -> None:
        from mmseg.models.decode_heads.dpt_head import FeatureFusionBlock

        super().__init__()
        self.first = FeatureFusionBlock(4, {"type": "ReLU"}, {"type": "BN"})
        self.second = FeatureFusionBlock(4, {"type": "ReLU"}, {"type": "BN"})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # What is given is lost: the activations work in place.
        return self.second(self.first(x[:, :, ::2, ::2].clone()), x.clone())


@pytest.fixture(scope="module")
def fusion(mmseg, randomised):
    return randomised(HalfAndWhole())


SHAPES = [(2, 4, 8, 12), (1, 4, 7, 12), (1, 4, 9, 5), (2, 4, 6, 6)]


@pytest.mark.parametrize("traced", [(2, 4, 12, 16), (2, 4, 13, 17)])
def test_one_exported_program_follows_the_size(traced, fusion, distance):
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(fusion),
        (torch.zeros(traced),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).module()
    for shape in SHAPES:
        x = torch.randn(shape)
        assert distance(fusion(x), program(x)) < 1e-5, shape

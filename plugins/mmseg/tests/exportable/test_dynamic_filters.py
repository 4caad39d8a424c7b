"""A filter for each image of a batch whose size is only known later."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from segplug_mmseg.exportable import make_exportable
from segplug_mmseg.exportable.dynamic_filters import filter_each
from torch import nn

OPTIONS = [
    {"filter_size": 1, "fusion": False, "norm_cfg": None},
    {"filter_size": 3, "fusion": True, "norm_cfg": {"type": "BN"}},
    {"filter_size": 4, "fusion": False, "norm_cfg": {"type": "BN"}},
]


@pytest.fixture(params=OPTIONS)
def module(request, randomised) -> nn.Module:
    from mmseg.models.decode_heads.dm_head import DCM

    return randomised(
        DCM(in_channels=5, channels=4, conv_cfg=None, act_cfg={"type": "ReLU"}, **request.param)
    )


@pytest.mark.parametrize("side", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("size", [(9, 13), (2, 5), (1, 1)])
def test_each_image_has_its_own_filters(side, size):
    x, filters = torch.randn(3, 4, *size), torch.randn(3, 4, side, side)
    padded = F.pad(x, (side // 2, (side - 1) // 2) * 2).reshape(1, 12, size[0] + side - 1, size[1] + side - 1)
    expected = F.conv2d(padded, filters.reshape(12, 1, side, side), groups=12).reshape(3, 4, *size)
    torch.testing.assert_close(filter_each(x, filters), expected, rtol=1e-5, atol=1e-5)


def test_a_known_batch_stays_one_convolution(module):
    program = torch.export.export(make_exportable(module), (torch.zeros(2, 5, 9, 13),))
    called = [str(node.target) for node in program.graph.nodes]
    assert any("conv2d" in name for name in called)
    assert not any("stack" in name for name in called)


def test_one_exported_program_follows_batch_and_size(module, distance):
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(module),
        (torch.zeros(2, 5, 12, 20),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).module()
    for shape in [(1, 5, 9, 13), (3, 5, 24, 7)]:
        x = torch.randn(shape)
        assert distance(module(x), program(x)) < 1e-5, shape

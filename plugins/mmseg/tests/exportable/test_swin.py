"""Shifted windows and patch merging on sizes that windows and patches do not divide."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.exportable import make_exportable

SIZES = [(7, 7), (14, 21), (13, 9), (3, 5), (8, 28)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [0, 3])
def test_window_attention(size, shift, randomised, distance):
    from mmseg.models.backbones.swin import ShiftWindowMSA

    attention = randomised(ShiftWindowMSA(8, 2, window_size=7, shift_size=shift))
    x = torch.randn(2, size[0] * size[1], 8)
    assert distance(attention(x, size), make_exportable(attention)(x, size)) < 1e-5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{}, {"kernel_size": 3, "stride": 2}, {"padding": 0}])
def test_patch_merging(size, options, randomised, distance):
    from mmseg.models.utils.embed import PatchMerging

    merging = randomised(PatchMerging(4, 6, **options))
    x = torch.randn(2, size[0] * size[1], 4)
    expected, expected_size = merging(x, size)
    actual, actual_size = make_exportable(merging)(x, size)
    assert actual_size == expected_size
    assert distance(expected, actual) < 1e-5


@pytest.mark.parametrize("size", [(64, 64), (95, 130)])
def test_backbone(size, randomised, distance):
    from mmseg.models.backbones import SwinTransformer

    swin = randomised(SwinTransformer(embed_dims=8, depths=(2, 2, 1, 1), num_heads=(1, 2, 2, 4)))
    x = torch.randn(2, 3, *size)
    for expected, actual in zip(swin(x), make_exportable(swin)(x), strict=True):
        assert distance(expected, actual) < 1e-5

"""Padding that follows the size instead of the sample."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.exportable import make_exportable

SIZES = [(16, 16), (15, 17), (1, 1), (9, 30), (32, 5)]


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(4, 4, 1), (2, 2, 1), (3, 2, 1), (2, 4, 1), (3, 2, 3), (7, 4, 1)]
)
@pytest.mark.parametrize("where", ["corner", "same"])
def test_mmsegs_adaptive_padding(kernel, stride, dilation, where):
    from mmseg.models.utils.embed import AdaptivePadding

    padding = AdaptivePadding(kernel, stride, dilation, where)
    for size in SIZES:
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(make_exportable(padding)(x), padding(x), rtol=0, atol=0)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 1, 2), (1, 2, 1)])
def test_mmcvs_padded_convolution(kernel, stride, dilation):
    from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding

    conv = Conv2dAdaptivePadding(3, 4, kernel, stride, dilation=dilation)
    for size in SIZES:
        x = torch.randn(2, 3, *size)
        torch.testing.assert_close(make_exportable(conv)(x), conv(x), rtol=1e-5, atol=1e-6)

"""mmseg's resize with aligned corners, whose hint would fix a dynamic size."""

from __future__ import annotations

import warnings

import pytest
import torch
from segplug_mmseg.exportable import make_exportable
from torch import nn


class Enlarge(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from mmseg.ops import resize

        return resize(x[:, :, ::3, ::3], size=x.shape[2:], mode="bilinear", align_corners=True)


def test_one_exported_program_follows_the_size(mmseg):
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(Enlarge()),
        (torch.zeros(2, 3, 20, 26),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).module()
    for shape in [(2, 3, 20, 26), (1, 3, 33, 9)]:
        x = torch.randn(shape)
        torch.testing.assert_close(program(x), Enlarge()(x), rtol=1e-5, atol=1e-6)


def test_the_hint_is_silent_only_during_the_call(mmseg):
    exportable, x = make_exportable(Enlarge()), torch.randn(1, 1, 20, 26)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exportable(x)
    with pytest.warns(UserWarning, match="would more aligned"):
        Enlarge()(x)

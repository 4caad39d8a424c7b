"""mmseg's resize with aligned corners, whose hint would fix a dynamic size."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from segplug_mmseg.exportable import make_exportable
from torch import nn


class Enlarge(nn.Module):
    def __init__(self, resize: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.resize = resize

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.resize(x[:, :, ::3, ::3], size=x.shape[2:], mode="bilinear", align_corners=True)


@pytest.fixture
def enlarge(wrappers) -> Enlarge:
    # Looked up at each call: a form replaces it there.
    return Enlarge(lambda *given, **options: wrappers.resize(*given, **options))


def test_one_exported_program_follows_the_size(enlarge):
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(enlarge),
        (torch.zeros(2, 3, 20, 26),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).module()
    for shape in [(2, 3, 20, 26), (1, 3, 33, 9)]:
        x = torch.randn(shape)
        torch.testing.assert_close(program(x), enlarge(x), rtol=1e-5, atol=1e-6)


def test_the_hint_is_silent_only_during_the_call(enlarge):
    exportable, x = make_exportable(enlarge), torch.randn(1, 1, 20, 26)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exportable(x)
    with pytest.warns(UserWarning, match="would more aligned"):
        enlarge(x)

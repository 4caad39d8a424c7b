"""Patches side by side, cut out of maps and put together by reshapes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from segplug_torch.exportable import make_exportable
from torch import nn

PATCHES = [2, 3, (3, 2), (1, 4), [2, 3]]
SIZES = [(12, 12), (13, 7), (5, 31), (4, 4)]


class Patches(nn.Module):
    """Cuts a map into patches, multiplies each by its number, and puts them together again."""

    def __init__(self, patch, **others) -> None:
        super().__init__()
        self.settings = {"kernel_size": patch, "stride": patch, **others}

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        patches = F.unfold(x, **self.settings)
        weighted = patches * torch.arange(1, patches.shape[2] + 1)
        return patches, F.fold(weighted, x.shape[2:], **self.settings)


@pytest.mark.parametrize("patch", PATCHES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gives_torchs_numbers(patch, size):
    module, x = Patches(patch), torch.randn(2, 3, *size)
    program = torch.export.export(make_exportable(module), (x,))
    for expected, found in zip(module(x), program.module()(x), strict=True):
        assert torch.equal(found, expected)
    assert _orders_values_anew(program)


@pytest.mark.parametrize(
    "others", [{"stride": 1}, {"padding": 1}, {"dilation": 2}, {"stride": (2, 1)}], ids=str
)
def test_patches_that_overlap_or_leave_gaps(others):
    module, x = Patches(2, **others), torch.randn(2, 3, 9, 11)
    for expected, found in zip(module(x), make_exportable(module)(x), strict=True):
        assert torch.equal(found, expected)


def test_a_map_without_a_batch():
    x = torch.randn(3, 8, 6)
    for expected, found in zip(Patches(2)(x[None]), make_exportable(Patches(2))(x[None]), strict=True):
        assert torch.equal(found, expected)
    unfold = nn.Unfold(2, stride=2)
    assert torch.equal(make_exportable(unfold)(x), unfold(x))


@pytest.mark.parametrize("patch", [2, (3, 2)], ids=str)
def test_one_exported_program_follows_the_size(patch):
    any_size = torch.export.Dim.DYNAMIC
    module = Patches(patch)
    program = torch.export.export(
        make_exportable(module),
        (torch.zeros(2, 3, 20, 26),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    )
    assert _orders_values_anew(program)
    for shape in [(2, 3, 20, 26), (1, 3, 33, 9), (3, 3, 8, 64)]:
        x = torch.randn(shape)
        for expected, found in zip(module(x), program.module()(x), strict=True):
            assert torch.equal(found, expected)


def _orders_values_anew(program: torch.export.ExportedProgram) -> bool:
    """Whether it works without the operators of torch for patches of any kind."""
    return not any(
        "im2col" in str(node.target) or "col2im" in str(node.target) for node in program.graph.nodes
    )

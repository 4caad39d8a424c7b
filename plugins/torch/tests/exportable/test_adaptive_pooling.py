"""Adaptive average pooling as a product with matrices made from the size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from segplug_torch.exportable import make_exportable
from segplug_torch.exportable.adaptive_pooling import adaptive_avg_pool2d, interpolate
from torch import nn

GRIDS = [1, 2, 3, 6, (2, 5), (None, 4), (7, None), (1, None)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("size", [(12, 12), (13, 7), (5, 31), (4, 3)])
def test_gives_torchs_numbers(grid, size):
    x = torch.randn(2, 3, *size)
    expected = F.adaptive_avg_pool2d(x, grid)
    torch.testing.assert_close(adaptive_avg_pool2d(x, grid), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(make_exportable(nn.AdaptiveAvgPool2d(grid))(x), expected, rtol=1e-5, atol=1e-6)


def test_gives_torchs_numbers_without_a_batch_and_in_double():
    x = torch.randn(3, 11, 9, dtype=torch.float64)
    torch.testing.assert_close(adaptive_avg_pool2d(x, 4), F.adaptive_avg_pool2d(x, 4), rtol=1e-12, atol=1e-12)


class Pools(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(F.adaptive_avg_pool2d(x, grid) for grid in (1, 2, 3, 6))


def test_one_exported_program_follows_the_size():
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        make_exportable(Pools()),
        (torch.zeros(2, 3, 20, 26),),
        dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
    ).module()
    for shape in [(2, 3, 20, 26), (1, 3, 33, 9), (3, 3, 8, 64)]:
        x = torch.randn(shape)
        torch.testing.assert_close(program(x), Pools()(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("grid", [1, 6, (2, 5), torch.Size((3, 7))])
@pytest.mark.parametrize("size", [(12, 12), (13, 7)])
def test_area_interpolation_is_this_pooling(grid, size):
    x = torch.randn(2, 3, *size)
    expected = F.interpolate(x, size=grid, mode="area")
    torch.testing.assert_close(interpolate(x, grid, mode="area"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["area", "nearest", "bilinear"])
def test_other_interpolation_is_left_alone(mode):
    x = torch.randn(2, 3, 6, 10)
    assert torch.equal(interpolate(x, scale_factor=1.5, mode=mode), F.interpolate(x, None, 1.5, mode))
    line = torch.randn(2, 3, 10)
    if mode != "bilinear":
        assert torch.equal(interpolate(line, 4, mode=mode), F.interpolate(line, 4, mode=mode))


class Areas(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(F.interpolate(x, size=(grid, grid), mode="area") for grid in (1, 2, 3, 6))


def test_one_exported_program_of_areas_follows_the_size():
    any_size = torch.export.Dim.DYNAMIC
    sample, shapes = (torch.zeros(2, 3, 20, 26),), ({0: any_size, 2: any_size, 3: any_size},)
    program = torch.export.export(make_exportable(Areas()), sample, dynamic_shapes=shapes).module()
    for shape in [(2, 3, 20, 26), (1, 3, 33, 9), (3, 3, 8, 64)]:
        x = torch.randn(shape)
        torch.testing.assert_close(program(x), Areas()(x), rtol=1e-5, atol=1e-6)

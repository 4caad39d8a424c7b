"""Plain-torch operators against their definition, written out cell by cell, and against mmcv's own call."""

from __future__ import annotations

import pytest
import torch
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.ops import psa_windows, psamask_forward

CASES = [
    ((5, 5), (4, 3)),
    ((3, 7), (6, 5)),
    ((4, 6), (7, 5)),  # an even window reaches one further down and right
    ((9, 11), (4, 5)),  # covers the map from everywhere
    ((1, 1), (3, 2)),
    ((2, 3), (1, 1)),
]
"""A window and a map: smaller, larger, even, odd."""


def windows_by_definition(mask: torch.Tensor, window: tuple[int, int]) -> torch.Tensor:
    """(N, i, j, h, w): the weight of (i, j) in the window whose middle is at (h, w)."""
    batch, _, height, width = mask.shape
    expected = torch.zeros(batch, height, width, height, width)
    for h in range(height):
        for w in range(width):
            for row in range(window[0]):
                for column in range(window[1]):
                    i, j = h + row - (window[0] - 1) // 2, w + column - (window[1] - 1) // 2
                    if 0 <= i < height and 0 <= j < width:
                        expected[:, i, j, h, w] = mask[:, row * window[1] + column, h, w]
    return expected


@pytest.mark.parametrize(("window", "size"), CASES)
def test_each_window_lies_around_its_position(window, size):
    mask = torch.randn(2, window[0] * window[1], *size)
    actual = psa_windows(mask, window)
    expected = windows_by_definition(mask, window).transpose(2, 3)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("window", "size"), CASES)
@pytest.mark.parametrize("direction", ["collect", "distribute"])
def test_mmcvs_operator(window, size, direction):
    """Compiled with mmcv-full, and else the stand-in: both are called and answer alike."""
    import_mmseg()
    from mmcv.ops import PSAMask

    (height, width), mask = size, torch.randn(2, window[0] * window[1], *size)
    expected = windows_by_definition(mask, window)
    if direction == "distribute":
        expected = expected.permute(0, 3, 4, 1, 2)
    expected = expected.reshape(2, height * width, height, width)
    torch.testing.assert_close(PSAMask(direction, window)(mask), expected, rtol=0, atol=0)

    filled = torch.zeros_like(expected)
    half = ((edge - 1) // 2 for edge in window)
    psamask_forward(mask, filled, int(direction == "distribute"), 2, *size, *window, *half)
    torch.testing.assert_close(filled, expected, rtol=0, atol=0)


def test_one_exported_program_follows_the_size():
    class Windows(torch.nn.Module):
        def forward(self, mask: torch.Tensor) -> torch.Tensor:
            return psa_windows(mask, (3, 5))

    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        Windows(), (torch.zeros(2, 15, 6, 9),), dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},)
    ).module()
    for shape in [(1, 15, 2, 7), (3, 15, 8, 4)]:
        mask = torch.randn(shape)
        torch.testing.assert_close(program(mask), psa_windows(mask, (3, 5)), rtol=0, atol=0)

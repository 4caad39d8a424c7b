"""Padding that follows the size, and sizes as symbols that an exporter takes without a proof."""

from __future__ import annotations

import torch
from segplug_torch.exportable.sizes import as_symbol, blocks, needed_padding
from torch import nn


class Tiles(nn.Module):
    """Parts rows of three, as many as there are, and joins them again."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tiles = as_symbol((x.shape[1] + 2) // 3)
        padded = nn.functional.pad(x, (0, tiles * 3 - x.shape[1]))
        return padded.reshape(x.shape[0], tiles, 3).cumsum(dim=1).reshape(x.shape[0], tiles * 3)


def test_a_number_stays_a_number():
    assert as_symbol(7) == 7
    assert type(as_symbol(1)) is int


def test_one_exported_program_follows_the_size():
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        Tiles(), (torch.zeros(2, 20),), dynamic_shapes=({0: any_size, 1: any_size},)
    ).module()
    for shape in [(2, 20), (3, 6), (4, 31)]:
        x = torch.randn(shape)
        torch.testing.assert_close(program(x), Tiles()(x), rtol=0, atol=0)


def test_padded_length_is_covered_exactly():
    for length in range(1, 40):
        assert (length + needed_padding(length, 7, 7)) == 7 * blocks(length, 7)
        assert needed_padding(length, 7, 7) == -length % 7

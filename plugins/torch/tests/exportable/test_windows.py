"""Attention inside shifted windows, at sizes that windows do not divide."""

from __future__ import annotations

import pytest
import torch
from segplug_torch.exportable.windows import attend_in_windows, shift_mask


def test_the_mask_parts_what_the_shift_brought_together():
    like = torch.zeros(1)
    mask = shift_mask(2, 2, 4, 2, like)
    assert mask.shape == (4, 16, 16)
    assert mask[0].eq(0).all()  # the first window holds one region
    # the last window holds four 2 x 2 regions, each position sees the 4 of its own
    assert mask[3].eq(0).sum(dim=1).eq(4).all()
    assert mask[1].eq(0).sum(dim=1).eq(8).all()
    assert mask.unique().tolist() == [-100.0, 0.0]


@pytest.mark.parametrize("shift", [0, 1])
def test_every_position_comes_back_to_its_place(shift):
    x = torch.randn(2, 5, 7, 3)
    assert torch.equal(attend_in_windows(x, 3, shift, lambda tokens, mask: tokens), x)


def test_a_window_holds_neighbours_and_padding():
    x = torch.arange(1.0, 13.0).reshape(1, 3, 4, 1)
    seen = []

    def attend(tokens, mask):
        seen.append((tokens, mask))
        return tokens

    attend_in_windows(x, 2, 0, attend)
    ((tokens, mask),) = seen
    assert mask is None
    assert tokens[0, :, :, 0].tolist() == [[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 0, 0], [11, 12, 0, 0]]

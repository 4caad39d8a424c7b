"""The sine positions of mmdet's transformers, for maps without padding."""

from __future__ import annotations

from typing import Any

import torch
from segplug_torch.exportable.sizes import Size
from torch import Tensor

__all__ = ["sine_positions"]


def sine_positions(encoding: Any, size: tuple[Size, Size], like: Tensor) -> Tensor:
    """(H, W, C): what mmdet's ``SinePositionalEncoding`` gives where no cell is padding.

    mmdet counts the cells that are no padding along both axes, in a map of the batch's size. Without any,
    they are numbers from 1 on, and one axis at a time is enough.
    """
    rows, columns = (_axis(encoding, length, like) for length in size)
    shape = *size, encoding.num_feats
    return torch.cat((rows[:, None].expand(shape), columns[None].expand(shape)), dim=-1)


def _axis(encoding: Any, length: Size, like: Tensor) -> Tensor:
    """(length, C / 2)."""
    place = torch.arange(length, dtype=torch.float32, device=like.device) + 1
    if encoding.normalize:
        last = torch.full((), length, dtype=torch.float32, device=like.device)
        place = (place + encoding.offset) / (last + encoding.eps) * encoding.scale
    channel = torch.arange(encoding.num_feats, dtype=torch.float32, device=like.device)
    period = encoding.temperature ** (2 * (channel // 2) / encoding.num_feats)
    angle = place[:, None] / period
    return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

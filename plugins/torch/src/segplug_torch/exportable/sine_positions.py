"""The sine positions of DETR and its successors, for maps without padding, whatever their size."""

from __future__ import annotations

import torch
from torch import Tensor

from .sizes import Size

__all__ = ["sine_positions"]


def sine_positions(
    size: tuple[Size, Size],
    channels: int,
    device: torch.device,
    *,
    temperature: float = 10000,
    scale: float | None = None,
    offset: float = 0.0,
    eps: float = 1e-6,
) -> Tensor:
    """(H, W, 2 * channels): the sines and cosines of the row, then those of the column.

    Frameworks count the cells that are no padding along both axes, in a map of the batch's size. Without any,
    they are numbers from 1 on, and one axis at a time is enough.

    Args:
        size: H and W.
        channels: How many numbers each axis has.
        device: Where they are computed.
        temperature: The longest period, without 2 pi.
        scale: What the last cell is scaled to; ``None``: cells are counted as they are.
        offset: Added to each count before it is scaled.
        eps: Added to the count of the last cell before it divides the others.
    """
    rows, columns = (
        _axis(length, channels, device, temperature, None if scale is None else (scale, offset, eps))
        for length in size
    )
    shape = *size, channels
    return torch.cat((rows[:, None].expand(shape), columns[None].expand(shape)), dim=-1)


def _axis(
    length: Size,
    channels: int,
    device: torch.device,
    temperature: float,
    scaling: tuple[float, float, float] | None,
) -> Tensor:
    """(length, channels)."""
    place = torch.arange(length, dtype=torch.float32, device=device) + 1
    if scaling is not None:
        scale, offset, eps = scaling
        last = torch.full((), length, dtype=torch.float32, device=device)
        place = (place + offset) / (last + eps) * scale
    channel = torch.arange(channels, dtype=torch.float32, device=device)
    period = temperature ** (2 * (channel // 2) / channels)
    angle = place[:, None] / period
    return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

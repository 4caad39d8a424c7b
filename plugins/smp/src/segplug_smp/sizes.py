"""The sizes of images that a network of smp takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from segplug_torch.errors import is_out_of_memory, refusals
from torch import nn

__all__ = ["own_size", "stride", "takes"]

Size = tuple[int, int]
"""(height, width)."""


def stride(network: nn.Module) -> int:
    """What smp says that height and width are to be multiples of."""
    encoder: Any = network.encoder
    return int(encoder.output_stride)


def own_size(network: nn.Module) -> Size | None:
    """The size that the encoder is made for, if it is a transformer with positions; it may take others."""
    return next(_own_sizes(network), None)


def _own_sizes(network: nn.Module) -> Iterator[Size]:
    encoder: Any = network.encoder
    for module in encoder.modules():
        size = getattr(module, "img_size", None)  # of timm's PatchEmbed, whatever model it is in
        if isinstance(size, (tuple, list)) and len(size) == 2 and all(isinstance(edge, int) for edge in size):
            yield size[0], size[1]
    settings = getattr(getattr(encoder, "model", None), "pretrained_cfg", None) or {}
    if settings.get("fixed_input_size"):
        _, height, width = settings["input_size"]
        yield height, width


def takes(network: nn.Module, channels: int, size: Size) -> bool:
    """Whether the network gives scores of an image's size for an image of this size."""
    device = next(network.parameters()).device
    try:
        with torch.inference_mode():
            scores = network(torch.zeros(1, channels, *size, device=device))
    except refusals() as error:
        if is_out_of_memory(error):
            raise
        return False
    return tuple(scores.shape[2:]) == size

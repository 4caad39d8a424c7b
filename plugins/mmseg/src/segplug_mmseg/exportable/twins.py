"""Twins' local windows and positions: an export of mmseg's code freezes their shapes and the mask.

Here padding, numbers of windows and the mask follow the size. The map of a stage stays (N, H, W, C), which
norms and linear layers take, too: to flatten it and back in every layer costs an export minutes, since each
time it has to prove that products of formulas of sizes are equal.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.attention import attend, split_heads
from segplug_torch.exportable.registry import method_form
from segplug_torch.exportable.sizes import Size, blocks
from torch import Tensor

from .attention import as_map

__all__ = ["padding_mask"]

HW = tuple[Size, Size]

_NOT_ATTENDED = -1000.0
"""What mmseg adds to the attention between image and padding."""


@method_form("mmseg.models.backbones.twins.PCPVT")
def _backbone(self: Any, x: Tensor) -> tuple[Tensor, ...]:
    outputs = []
    for index, layers in enumerate(self.layers):
        tokens, hw_shape = self.patch_embeds[index](x)
        grid = self.position_encoding_drops[index](as_map(tokens, hw_shape))
        for position, layer in enumerate(layers):
            grid = layer(grid, hw_shape)
            if position == 0:
                grid = self.position_encodings[index](grid, hw_shape)
        if self.norm_after_stage:
            grid = self.norm_list[index](grid)
        x = grid.permute(0, 3, 1, 2)
        if index in self.out_indices:
            outputs.append(x)
    return tuple(outputs)


@method_form("mmseg.models.backbones.twins.ConditionalPositionEncoding")
def _conditional_position_encoding(self: Any, x: Tensor, hw_shape: HW) -> Tensor:
    """Takes and gives (N, H, W, C), or (N, H * W, C) as the original does."""
    image = as_map(x, hw_shape).permute(0, 3, 1, 2)
    encoded = self.proj(image) + image if self.stride == 1 else self.proj(image)
    encoded = encoded.permute(0, 2, 3, 1)
    given: Tensor = encoded if x.dim() == 4 else encoded.flatten(1, 2)
    return given


@method_form("mmseg.models.backbones.twins.LocallyGroupedSelfAttention")
def _locally_grouped_self_attention(self: Any, x: Tensor, hw_shape: HW) -> Tensor:
    """Takes and gives (N, H, W, C), or (N, H * W, C) as the original does."""
    grid, (height, width), window = as_map(x, hw_shape), hw_shape, self.window_size
    batch, channels = grid.shape[0], grid.shape[-1]
    rows, columns = blocks(height, window), blocks(width, window)
    grid = F.pad(grid, (0, 0, 0, columns * window - width, 0, rows * window - height))
    grid = grid.reshape(batch, rows, window, columns, window, channels).transpose(2, 3)
    tokens = grid.reshape(batch, rows * columns, window * window, channels)
    q, k, v = split_heads(self.qkv(tokens), 3 * self.num_heads).chunk(3, dim=2)
    mask = padding_mask(hw_shape, window, tokens).unsqueeze(1)
    tokens = self.proj(attend(q, k, v, bias=mask, scale=self.scale))
    grid = tokens.reshape(batch, rows, columns, window, window, channels).transpose(2, 3)
    grid = grid.reshape(batch, rows * window, columns * window, channels)
    grid = grid.narrow(1, 0, height).narrow(2, 0, width)
    dropped: Tensor = self.proj_drop(grid if x.dim() == 4 else grid.flatten(1, 2))
    return dropped


def padding_mask(hw_shape: HW, window: int, like: Tensor) -> Tensor:
    """What is added to the attention inside each window: -1000 between image and padding.

    mmseg marks "the last n rows, the last m columns", which is everything where one of the two numbers is 0,
    so that nothing is separated. The weights were trained with this.

    Returns:
        (windows, window * window, window * window), of ``like``'s dtype and device.
    """
    rows, columns = (_padding(edge, window, like) for edge in hw_shape)
    padding = rows[:, None, :, None] | columns[None, :, None, :]
    padding = padding.flatten(2).flatten(0, 1)
    parted = padding.unsqueeze(1) != padding.unsqueeze(2)
    return parted.to(like.dtype) * _NOT_ATTENDED


def _padding(length: Size, window: int, like: Tensor) -> Tensor:
    """(blocks, window): whether the position is padding; all are if none is."""
    position = torch.arange(blocks(length, window) * window, device=like.device)
    padding = (position >= length) | (position[-1] < length)
    return padding.reshape(-1, window)

"""Swin's shifted windows: an export of mmseg's code freezes their shapes and the mask.

mmseg pads to whole windows only if the sample needs it, recovers the batch size by a division of numbers
of windows, and paints the mask slice by slice. Here the padding and the number of windows follow the size,
the batch keeps its own axis, and the mask is a comparison of index vectors.

The map of a stage stays (N, H, W, C), which norms, linear layers and windows take, too. To flatten it to
(N, H * W, C) and back around every block, as mmseg does, costs an export minutes, since each time it has to
prove that products of formulas of sizes are equal.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sizes import Size, blocks
from torch import Tensor

__all__ = ["shift_mask"]

HW = tuple[Size, Size]

_NOT_ATTENDED = -100.0
"""What mmseg adds to the attention between positions of different regions."""


@method_form("mmseg.models.backbones.swin.SwinTransformer")
def _backbone(self: Any, x: Tensor) -> list[Tensor]:
    x, hw = self.patch_embed(x)
    if self.use_abs_pos_embed:
        x = x + self.absolute_pos_embed
    x = self.drop_after_pos(x)
    outputs = []
    for index, stage in enumerate(self.stages):
        grid = _as_map(x, hw)
        for block in stage.blocks:
            grid = block(grid, hw)
        if index in self.out_indices:
            outputs.append(getattr(self, f"norm{index}")(grid).permute(0, 3, 1, 2))
        if stage.downsample:
            x, hw = stage.downsample(grid, hw)
    return outputs


@method_form("mmseg.models.utils.embed.PatchMerging")
def _patch_merging(self: Any, x: Tensor, input_size: HW) -> tuple[Tensor, HW]:
    """Gathers each patch by a reshape; ``nn.Unfold`` is exported as index arithmetic over the whole map."""
    fold = self.sampler
    if not self.adap_padding or fold.kernel_size != fold.stride or fold.dilation != (1, 1):
        flat = x if x.dim() == 3 else x.flatten(1, 2)
        merged: tuple[Tensor, HW] = original_forward(self)(flat, input_size)
        return merged
    patch_h, patch_w = fold.kernel_size
    x = self.adap_padding(_as_map(x, input_size).permute(0, 3, 1, 2))
    batch, channels, height, width = x.shape
    rows, columns = height // patch_h, width // patch_w
    x = x.reshape(batch, channels, rows, patch_h, columns, patch_w).permute(0, 2, 4, 1, 3, 5)
    x = x.reshape(batch, rows * columns, channels * patch_h * patch_w)
    x = self.norm(x) if self.norm else x
    return self.reduction(x), (rows, columns)


@method_form("mmseg.models.backbones.swin.ShiftWindowMSA")
def _shift_window_msa(self: Any, query: Tensor, hw_shape: HW) -> Tensor:
    """Takes and gives (N, H, W, C), or (N, H * W, C) as the original does."""
    x, (height, width), window, shift = _as_map(query, hw_shape), hw_shape, self.window_size, self.shift_size
    batch, channels = x.shape[0], x.shape[-1]
    rows, columns = blocks(height, window), blocks(width, window)
    x = F.pad(x, (0, 0, 0, columns * window - width, 0, rows * window - height))
    if shift:
        x = torch.roll(x, shifts=(-shift, -shift), dims=(1, 2))
    x = x.reshape(batch, rows, window, columns, window, channels).transpose(2, 3)
    x = x.reshape(batch, rows * columns, window * window, channels)
    x = _window_attention(self.w_msa, x, shift_mask(rows, columns, window, shift, x) if shift else None)
    x = x.reshape(batch, rows, columns, window, window, channels).transpose(2, 3)
    x = x.reshape(batch, rows * window, columns * window, channels)
    if shift:
        x = torch.roll(x, shifts=(shift, shift), dims=(1, 2))
    x = x.narrow(1, 0, height).narrow(2, 0, width)
    dropped: Tensor = self.drop(x if query.dim() == 4 else x.flatten(1, 2))
    return dropped


def _as_map(x: Tensor, hw_shape: HW) -> Tensor:
    return x if x.dim() == 4 else x.reshape(x.shape[0], *hw_shape, x.shape[-1])


def _window_attention(self: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """mmseg's ``WindowMSA`` on (N, windows, tokens, C) instead of (N * windows, tokens, C)."""
    batch, windows, tokens, channels = x.shape
    qkv = self.qkv(x).reshape(batch, windows, tokens, 3, self.num_heads, channels // self.num_heads)
    q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
    bias = self.relative_position_bias_table[self.relative_position_index.reshape(-1)]
    bias = bias.reshape(tokens, tokens, self.num_heads).permute(2, 0, 1)
    scores = (q * self.scale) @ k.transpose(-2, -1) + bias
    if mask is not None:
        scores = scores + mask.unsqueeze(1)
    attended = (scores.softmax(dim=-1) @ v).transpose(2, 3).reshape(batch, windows, tokens, channels)
    projected: Tensor = self.proj(attended)
    return projected


def shift_mask(rows: Size, columns: Size, window: int, shift: int, like: Tensor) -> Tensor:
    """What is added to the attention inside each window: 0 within a region of the image, -100 across.

    The cyclic shift brings rows and columns from the far side into the last windows; positions of
    different sides must not see each other.

    Returns:
        (rows * columns, window * window, window * window), of ``like``'s dtype and device.
    """
    row_regions, column_regions = (_regions(count, window, shift, like) for count in (rows, columns))
    region = 3 * row_regions[:, None, :, None] + column_regions[None, :, None, :]
    region = region.reshape(rows * columns, window * window)
    across = region.unsqueeze(1) != region.unsqueeze(2)
    return across.to(like.dtype) * _NOT_ATTENDED


def _regions(count: Size, window: int, shift: int, like: Tensor) -> Tensor:
    """(count, window): 0 before the last window, there 1 up to the shift and 2 behind it."""
    position = torch.arange(count * window, device=like.device).reshape(count, window)
    return (position >= (count - 1) * window).long() + (position >= count * window - shift).long()

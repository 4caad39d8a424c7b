"""Swin's shifted windows: why, see :mod:`segplug_torch.exportable.windows`.

The map of a stage stays (N, H, W, C), which norms, linear layers and windows take, too. To flatten it to
(N, H * W, C) and back around every block, as mmseg does, costs an export minutes, since each time it has to
prove that products of formulas of sizes are equal.
"""

from __future__ import annotations

from typing import Any

from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sizes import Size
from segplug_torch.exportable.windows import attend_in_windows
from torch import Tensor

__all__: list[str] = []

HW = tuple[Size, Size]


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

    def attend(tokens: Tensor, mask: Tensor | None) -> Tensor:
        return _window_attention(self.w_msa, tokens, mask)

    x = attend_in_windows(_as_map(query, hw_shape), self.window_size, self.shift_size, attend)
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

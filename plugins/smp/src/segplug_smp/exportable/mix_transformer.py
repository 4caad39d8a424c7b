"""The encoders ``mit_b0`` to ``mit_b5``: attention whose keys are of a smaller map.

smp turns its map into a list of tokens and back around every layer, and merges the batch with the heads; an
export has to prove each time that products of sizes are equal. Here the map of a stage stays (N, H, W, C),
which norms and linear layers take, too.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from segplug_torch.exportable.attention import attend, split_heads
from segplug_torch.exportable.registry import method_form
from torch import Tensor

__all__: list[str] = []

_MODULE = "segmentation_models_pytorch.encoders.mix_transformer"


@method_form(f"{_MODULE}.LayerNorm")
def _norm(self: Any, x: Tensor) -> Tensor:
    """Over the channels of tokens (N, L, C), or of a map (N, C, H, W)."""
    if x.dim() == 4:
        return _normed(self, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return _normed(self, x)


@method_form(f"{_MODULE}.Block")
def _block(self: Any, x: Tensor) -> Tensor:
    grid = x.permute(0, 2, 3, 1)
    grid = grid + _attended(self.attn, _normed(self.norm1, grid))
    grid = grid + _mixed(self.mlp, _normed(self.norm2, grid))
    return grid.permute(0, 3, 1, 2)


def _normed(norm: Any, x: Tensor) -> Tensor:
    """Over the last axis."""
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _attended(attention: Any, grid: Tensor) -> Tensor:
    keys = grid
    if attention.sr_ratio > 1:
        keys = attention.sr(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        keys = _normed(attention.norm, keys)
    q = split_heads(attention.q(grid).flatten(1, 2), attention.num_heads)
    k, v = split_heads(attention.kv(keys).flatten(1, 2), 2 * attention.num_heads).chunk(2, dim=1)
    tokens = attention.proj(attend(q, k, v, scale=attention.scale))
    attended: Tensor = tokens.unflatten(1, grid.shape[1:3])
    return attended


def _mixed(mlp: Any, grid: Tensor) -> Tensor:
    hidden = mlp.dwconv.dwconv(mlp.fc1(grid).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    mixed: Tensor = mlp.fc2(mlp.act(hidden))
    return mixed

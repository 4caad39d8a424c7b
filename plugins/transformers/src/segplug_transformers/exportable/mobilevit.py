"""MobileViT's patches: the pixels at the same place of every 2 x 2 patch attend to each other.

transformers resizes a map to whole patches only if the sample needs it, and merges the batch with the places.
Here a map whose size is only known later is always resized, which leaves its numbers as they are where no
resize is needed, and batch and places keep an axis each.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.attention import attend, split_heads
from segplug_torch.exportable.registry import method_form
from segplug_torch.exportable.sizes import Size, blocks
from torch import Tensor

__all__: list[str] = []


@method_form("transformers.models.mobilevit.modeling_mobilevit.MobileViTLayer")
def _layer(self: Any, features: Tensor) -> Tensor:
    if self.downsampling_layer:
        features = self.downsampling_layer(features)
    local = self.conv_1x1(self.conv_kxk(features))
    size = local.shape[2:]
    patch = self.patch_height, self.patch_width
    whole = tuple(blocks(length, edge) * edge for length, edge in zip(size, patch, strict=True))
    patches = _unfolded(_resized(local, whole), patch)
    patches = self.layernorm(self.transformer(patches))
    folded = _resized(_folded(patches, whole, patch), size)
    fused: Tensor = self.fusion(torch.cat((features, self.conv_projection(folded)), dim=1))
    return fused


@method_form("transformers.models.mobilevit.modeling_mobilevit.MobileViTSelfAttention")
def _self_attention(self: Any, hidden_states: Tensor) -> Tensor:
    """Takes and gives (..., L, C)."""
    projections = self.query, self.key, self.value
    q, k, v = (split_heads(projection(hidden_states), self.num_attention_heads) for projection in projections)
    return attend(q, k, v)


def _resized(features: Tensor, size: tuple[Size, ...]) -> Tensor:
    known = all(isinstance(length, int) for length in size)
    if known and tuple(features.shape[2:]) == tuple(size):
        return features
    return F.interpolate(features, size=tuple(size), mode="bilinear", align_corners=False)


def _unfolded(features: Tensor, patch: tuple[int, int]) -> Tensor:
    """(N, C, H, W) as (N, places, patches, C)."""
    batch, channels, height, width = features.shape
    rows, columns = height // patch[0], width // patch[1]
    places = features.reshape(batch, channels, rows, patch[0], columns, patch[1]).permute(0, 3, 5, 2, 4, 1)
    return places.flatten(1, 2).flatten(2, 3)


def _folded(patches: Tensor, size: tuple[Size, ...], patch: tuple[int, int]) -> Tensor:
    """(N, places, patches, C) as (N, C, H, W) of ``size``."""
    rows, columns = size[0] // patch[0], size[1] // patch[1]
    batch, channels = patches.shape[0], patches.shape[-1]
    grid = patches.reshape(batch, *patch, rows, columns, channels).permute(0, 5, 3, 1, 4, 2)
    return grid.reshape(batch, channels, *size)

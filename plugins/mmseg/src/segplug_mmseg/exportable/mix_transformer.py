"""SegFormer's backbone, which turns its map into a list of tokens and back in every layer.

Each change is an equation of products of sizes that the exporter has to prove. Here the map of a stage stays
(N, H, W, C), which norms and linear layers take, too.
"""

from __future__ import annotations

from typing import Any

from segplug_torch.exportable.registry import method_form
from segplug_torch.exportable.sizes import Size
from torch import Tensor

from .attention import as_map

__all__: list[str] = []


@method_form("mmseg.models.backbones.mit.MixVisionTransformer")
def _mix_vision_transformer(self: Any, x: Tensor) -> list[Tensor]:
    outputs = []
    for index, (patch_embed, blocks, norm) in enumerate(self.layers):
        tokens, hw_shape = patch_embed(x)
        grid = as_map(tokens, hw_shape)
        for block in blocks:
            grid = block(grid, hw_shape)
        x = norm(grid).permute(0, 3, 1, 2)
        if index in self.out_indices:
            outputs.append(x)
    return outputs


@method_form("mmseg.models.backbones.mit.MixFFN")
def _mix_ffn(self: Any, x: Tensor, hw_shape: tuple[Size, Size], identity: Tensor | None = None) -> Tensor:
    """Takes and gives (N, H, W, C), or (N, H * W, C) as the original does."""
    out = self.layers(as_map(x, hw_shape).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    out = out if x.dim() == 4 else out.flatten(1, 2)
    added: Tensor = (x if identity is None else identity) + self.dropout_layer(out)
    return added

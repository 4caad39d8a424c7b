"""Mask2Former's pixel decoder: deformable attention over maps of several sizes.

Why: see :mod:`segplug_torch.exportable.deformable_attention`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.deformable_attention import (
    DeformableAttention,
    cell_centres,
    maps_of,
    row_of,
)
from segplug_torch.exportable.registry import method_form, original_forward
from torch import Tensor

from segplug_mmseg.classes import is_a
from segplug_mmseg.exportable.sine_positions import sine_positions

__all__: list[str] = []

_DEFORMABLE = "mmcv.ops.multi_scale_deform_attn.MultiScaleDeformableAttention"


@method_form("mmdet.models.layers.msdeformattn_pixel_decoder.MSDeformAttnPixelDecoder")
def _pixel_decoder(self: Any, feats: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    if not all(is_a(layer.self_attn, _DEFORMABLE) for layer in self.encoder.layers):
        decoded: tuple[Tensor, list[Tensor]] = original_forward(self)(feats)
        return decoded
    maps: list[Tensor] = []
    added, places = [], []
    for index in range(self.num_encoder_levels):  # the smallest map comes first
        level = self.num_input_levels - 1 - index
        x = self.input_convs[index](feats[level])
        sine = sine_positions(self.postional_encoding, x.shape[2:], x)
        maps.append(x)
        added.append((self.level_encoding.weight[index] + sine).flatten(0, 1))
        places.append(cell_centres(x.shape[2:], x, offset=self.point_generator.offset).flatten(0, 1))
    row, position, place = row_of(maps), torch.cat(added), torch.cat(places)
    sizes = [(x.shape[2], x.shape[3]) for x in maps]
    for layer in self.encoder.layers:
        attention = layer.self_attn
        taken = _deformable(attention)(row, sizes, position, place)
        row = layer.norms[1](layer.ffn(layer.norms[0](attention.dropout(taken) + row)))
    outs = maps_of(row, sizes)
    for index in range(self.num_input_levels - self.num_encoder_levels - 1, -1, -1):
        lateral = self.lateral_convs[index](feats[index])
        above = F.interpolate(outs[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        outs.append(self.output_convs[index](lateral + above))
    return self.mask_feature(outs[-1]), outs[: self.num_outs]


def _deformable(self: Any) -> DeformableAttention:
    return DeformableAttention(
        self.value_proj,
        self.sampling_offsets,
        self.attention_weights,
        self.output_proj,
        self.num_heads,
        self.num_points,
    )

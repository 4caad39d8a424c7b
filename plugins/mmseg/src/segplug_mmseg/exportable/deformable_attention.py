"""Mask2Former's pixel decoder: deformable attention over maps of several sizes.

mmcv lays the positions of all maps into one row, and parts it again by numbers that it reads from a tensor of
sizes; an export freezes those. Here each map keeps its height and width, and what lies between them is
sampled from one map for the positions of another: ONNX has GridSample.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
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
    positions, places = [], []
    for index in range(self.num_encoder_levels):  # the smallest map comes first
        level = self.num_input_levels - 1 - index
        maps.append(self.input_convs[index](feats[level]).permute(0, 2, 3, 1))
        sine = sine_positions(self.postional_encoding, feats[level].shape[-2:], maps[-1])
        positions.append(self.level_encoding.weight[index] + sine)
        places.append(_centres(self.point_generator, level, maps[-1]))
    for layer in self.encoder.layers:
        maps = _attended(layer.self_attn, maps, positions, places)
        maps = [layer.norms[1](layer.ffn(layer.norms[0](x))) for x in maps]
    outs = [x.permute(0, 3, 1, 2) for x in maps]
    for index in range(self.num_input_levels - self.num_encoder_levels - 1, -1, -1):
        lateral = self.lateral_convs[index](feats[index])
        above = F.interpolate(outs[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        outs.append(self.output_convs[index](lateral + above))
    return self.mask_feature(outs[-1]), outs[: self.num_outs]


def _centres(generator: Any, level: int, x: Tensor) -> Tensor:
    """(H, W, 2): where the middle of each cell of ``x``, (N, H, W, C), lies as (x, y) from 0 to 1."""
    axes = []
    for length, stride in zip((x.shape[2], x.shape[1]), generator.strides[level], strict=True):
        place = (torch.arange(length, device=x.device) + generator.offset) * stride
        axes.append(place.to(torch.float32) / (_number(length, x) * stride))
    columns, rows = axes
    size = x.shape[1:3]
    return torch.stack((columns[None, :].expand(size), rows[:, None].expand(size)), dim=-1)


def _attended(self: Any, maps: list[Tensor], positions: list[Tensor], places: list[Tensor]) -> list[Tensor]:
    """mmcv's ``MultiScaleDeformableAttention`` from and to maps (N, H, W, C) of several sizes."""
    values = [_by_head(self.value_proj(x).permute(0, 3, 1, 2), self.num_heads) for x in maps]
    attended = []
    for x, position, place in zip(maps, positions, places, strict=True):
        query = x + position
        shape = self.num_heads, self.num_levels, self.num_points
        offsets = self.sampling_offsets(query).unflatten(-1, (*shape, 2))
        weights = self.attention_weights(query).unflatten(-1, (shape[0], shape[1] * shape[2]))
        weights = weights.softmax(dim=-1).unflatten(-1, shape[1:])
        found = torch.zeros((), device=x.device)
        for level, value in enumerate(values):
            size = torch.stack((_number(value.shape[3], x), _number(value.shape[2], x)))
            at = place[:, :, None, None, :] + offsets[:, :, :, :, level] / size
            found = found + _sampled(value, at, weights[:, :, :, :, level])
        found = found.unflatten(0, (x.shape[0], self.num_heads))  # type: ignore[no-untyped-call]
        found = found.flatten(1, 2).permute(0, 2, 3, 1)
        attended.append(self.dropout(self.output_proj(found)) + x)
    return attended


def _by_head(x: Tensor, heads: int) -> Tensor:
    """(N, heads * D, H, W) as (N * heads, D, H, W)."""
    split: Tensor = x.unflatten(1, (heads, x.shape[1] // heads))  # type: ignore[no-untyped-call]
    return split.flatten(0, 1)


def _sampled(value: Tensor, at: Tensor, weights: Tensor) -> Tensor:
    """(N * heads, D, h, w): each position's weighted points of ``value``, (N * heads, D, H, W).

    Args:
        value: One map.
        at: (N, h, w, heads, points, 2), as (x, y), 0 to 1 in the map.
        weights: (N, h, w, heads, points).
    """
    width, points = at.shape[2], at.shape[4]
    grid = (2 * at - 1).permute(0, 3, 1, 2, 4, 5).flatten(0, 1).flatten(2, 3)
    found = F.grid_sample(value, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    by_point: Tensor = found.unflatten(-1, (width, points))  # type: ignore[no-untyped-call]
    return (by_point * weights.permute(0, 3, 1, 2, 4).flatten(0, 1).unsqueeze(1)).sum(dim=-1)


def _number(length: int, like: Tensor) -> Tensor:
    """A length as a tensor, since it may be known only later."""
    return torch.full((), length, device=like.device)

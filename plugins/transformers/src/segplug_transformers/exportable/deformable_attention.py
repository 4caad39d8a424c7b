"""The pixel decoder of Mask2Former and OneFormer: deformable attention over maps of several sizes.

Why: see :mod:`segplug_torch.exportable.deformable_attention`. The padding that transformers follows through
the attention is empty: the network sees the input as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
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

from .sine_positions import positions

__all__: list[str] = []

_MODELS = "transformers.models"


@method_form(f"{_MODELS}.mask2former.modeling_mask2former.Mask2FormerPixelDecoder")
def _mask2former(self: Any, features: Sequence[Tensor], *given: Any, **others: Any) -> Any:
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoderOutput

    if given or others.get("encoder_outputs") is not None or others.get("output_attentions"):
        return original_forward(self)(features, *given, **others)
    maps, last = _decoded(self, features, self.lateral_convolutions, self.output_convolutions)
    return Mask2FormerPixelDecoderOutput(mask_features=last, multi_scale_features=tuple(maps))


@method_form(f"{_MODELS}.oneformer.modeling_oneformer.OneFormerPixelDecoder")
def _oneformer(self: Any, features: Sequence[Tensor], *given: Any, **others: Any) -> Any:
    from transformers.models.oneformer.modeling_oneformer import OneFormerPixelDecoderOutput

    if given or others.get("encoder_outputs") is not None or others.get("output_attentions"):
        return original_forward(self)(features, *given, **others)
    maps, last = _decoded(self, features, self.lateral_convs, self.output_convs)
    return OneFormerPixelDecoderOutput(mask_features=last, multi_scale_features=maps)


def _decoded(
    self: Any, features: Sequence[Tensor], laterals: Sequence[Any], outputs: Sequence[Any]
) -> tuple[Any, Tensor]:
    """A list of maps of several sizes, the smallest first, and the features of the masks: (N, C, H, W)."""
    maps, places, added = [], [], []
    for level, feature in enumerate(features[::-1][: self.num_feature_levels]):
        x = self.input_projections[level](feature)
        sine = positions(self.position_embedding, x.shape[2:], x.device)
        maps.append(x)
        added.append((sine + self.level_embed[level]).flatten(0, 1))
        places.append(cell_centres(x.shape[2:], x).flatten(0, 1))
    row, position, place = row_of(maps), torch.cat(added), torch.cat(places)
    sizes = [(x.shape[2], x.shape[3]) for x in maps]
    for layer in self.encoder.layers:
        row = _passed(layer, row, _deformable(layer.self_attn)(row, sizes, position, place))
    # Contiguous: PyTorch's group norm of maps with the channels last loses two digits.
    decoded = [x.contiguous() for x in maps_of(row, sizes)]
    last = decoded[-1]
    finer = features[: self.num_fpn_levels][::-1]
    for feature, lateral, output in zip(finer, laterals, outputs, strict=True):
        x = lateral(feature)
        last = output(x + F.interpolate(last, size=x.shape[-2:], mode="bilinear", align_corners=False))
        decoded.append(last)
    return decoded[: self.num_feature_levels], self.mask_projection(last)


def _deformable(self: Any) -> DeformableAttention:
    return DeformableAttention(
        self.value_proj,
        self.sampling_offsets,
        self.attention_weights,
        self.output_proj,
        self.n_heads,
        self.n_points,
    )


def _passed(self: Any, x: Tensor, taken: Tensor) -> Tensor:
    x = self.self_attn_layer_norm(x + taken)
    passed: Tensor = self.final_layer_norm(x + self.fc2(self.activation_fn(self.fc1(x))))
    return passed

"""Queries that attend to maps, in Mask2Former, OneFormer and MaskFormer, for a free batch and size.

transformers copies a mask for each attention head, and merges the batch and the heads. Here they keep an axis
each. The masks that decide what a query sees are only needed at the size of the map that it attends to: the
features are resized once for each map, and not the masks in every layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.attention import attend, attention, split_heads
from segplug_torch.exportable.registry import method_form, original_forward
from torch import Tensor, nn

from .sine_positions import positions

__all__: list[str] = []

_MODELS = "transformers.models"


@dataclass(frozen=True)
class _Memory:
    """What the queries of one layer attend to."""

    value: Tensor
    """(N, L, C)."""
    position: Tensor
    """(L, C), added to the keys."""


@method_form(f"{_MODELS}.mask2former.modeling_mask2former.Mask2FormerTransformerModule")
def _mask2former(
    self: Any,
    multi_scale_features: Sequence[Tensor],
    mask_features: Tensor,
    output_hidden_states: bool = False,
    output_attentions: bool = False,
) -> Any:
    from transformers.models.mask2former import modeling_mask2former as modeling

    if output_attentions:
        return original_forward(self)(
            multi_scale_features, mask_features, output_hidden_states, output_attentions
        )
    decoder, predictor = self.decoder, self.decoder.mask_predictor
    memories = _memories(self, multi_scale_features)
    small, features = _resized(mask_features, multi_scale_features), mask_features.flatten(2)
    position = self.queries_embedder.weight
    query = self.queries_features.weight.expand(mask_features.shape[0], -1, -1)
    queries, normed, masks = [query], [decoder.layernorm(query)], []
    for index, layer in enumerate((*decoder.layers, None)):
        embedding = predictor.mask_embedder(normed[-1])
        masks.append((embedding @ features).unflatten(2, mask_features.shape[-2:]))
        if layer is None:
            break
        level = index % self.num_feature_levels
        query = _mask2former_layer(layer, query, position, memories[level], _unseen(embedding @ small[level]))
        queries.append(query)
        normed.append(decoder.layernorm(query))
    return modeling.Mask2FormerMaskedAttentionDecoderOutput(
        last_hidden_state=query,
        hidden_states=tuple(x.transpose(0, 1) for x in queries) if output_hidden_states else None,
        intermediate_hidden_states=tuple(x.transpose(0, 1) for x in normed),
        masks_queries_logits=tuple(masks),
    )


def _mask2former_layer(self: Any, query: Tensor, position: Tensor, memory: _Memory, hidden: Tensor) -> Tensor:
    def cross(x: Tensor) -> Tensor:
        return _cross(self.cross_attn, x, position, memory, hidden)

    def itself(x: Tensor) -> Tensor:
        return _own(self.self_attn, x, position)

    def passed(x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.activation_fn(self.fc1(x)))
        return out

    steps = [(cross, self.cross_attn_layer_norm), (itself, self.self_attn_layer_norm)]
    return _steps(query, [*steps, (passed, self.final_layer_norm)], self.pre_norm)


@method_form(f"{_MODELS}.oneformer.modeling_oneformer.OneFormerTransformerModule")
def _oneformer(
    self: Any,
    multi_scale_features: Sequence[Tensor],
    mask_features: Tensor,
    task_token: Tensor,
    output_attentions: bool = False,
) -> Any:
    from transformers.models.oneformer import modeling_oneformer as modeling

    if output_attentions:
        return original_forward(self)(multi_scale_features, mask_features, task_token, output_attentions)
    decoder = self.decoder
    memories = _memories(self, multi_scale_features)
    small, features = _resized(mask_features, multi_scale_features), mask_features.flatten(2)
    position = self.queries_embedder.weight
    task = task_token.unsqueeze(1)
    task = decoder.decoder_norm(task) if decoder.use_task_norm else task
    found = _asked_of_positions(self, position[:-1], mask_features, task)
    query = first = torch.cat((found, task), dim=1)
    predictions: Any = []
    for index, layer in enumerate((*decoder.layers, None)):
        normed = decoder.decoder_norm(query)
        embedding = decoder.mask_embed(normed)
        masks = (embedding @ features).unflatten(2, mask_features.shape[-2:])
        predictions.append(
            {"class_queries_logits": decoder.class_embed(normed), "masks_queries_logits": masks}
        )
        if layer is None:
            break
        level = index % self.num_feature_levels
        query = _oneformer_layer(layer, query, position, memories[level], _unseen(embedding @ small[level]))
    no_attentions: Any = ((),) * len(decoder.layers)
    return modeling.OneFormerTransformerDecoderOutput(
        object_queries=query,
        contrastive_logits=first,
        prediction_masks=predictions[-1]["masks_queries_logits"],
        prediction_class=predictions[-1]["class_queries_logits"],
        auxiliary_predictions=tuple(predictions[:-1]) if decoder.use_auxiliary_loss else None,
        attentions=no_attentions,
    )


def _asked_of_positions(self: Any, position: Tensor, mask_features: Tensor, task: Tensor) -> Tensor:
    """(N, Q - 1, C): the first queries, which attend to the positions of the mask features."""
    decoder = self.decoder
    sine = positions(self.position_embedder, mask_features.shape[-2:], mask_features.device)
    keys = decoder.query_input_projection(mask_features).flatten(2).transpose(1, 2)
    value = sine.flatten(0, 1).expand_as(keys)
    memory = _Memory(value, keys)
    query = (task if decoder.use_task_norm else torch.zeros_like(task)).expand(-1, position.shape[0], -1)
    transformer = decoder.query_transformer.decoder
    for layer in transformer.layers:
        query = _query_transformer_layer(layer, query, position, memory)
    found: Tensor = transformer.norm(query)
    return found


def _query_transformer_layer(self: Any, query: Tensor, position: Tensor, memory: _Memory) -> Tensor:
    def itself(x: Tensor) -> Tensor:
        return attention(self.self_attn, x + position, x + position, x)

    def cross(x: Tensor) -> Tensor:
        return _cross(self.multihead_attn, x, position, memory)

    def passed(x: Tensor) -> Tensor:
        out: Tensor = self.linear2(self.activation(self.linear1(x)))
        return out

    steps = [(itself, self.norm1), (cross, self.norm2), (passed, self.norm3)]
    return _steps(query, steps, self.normalize_before)


def _oneformer_layer(self: Any, query: Tensor, position: Tensor, memory: _Memory, hidden: Tensor) -> Tensor:
    def cross(x: Tensor) -> Tensor:
        return _cross(self.cross_attn.multihead_attn, x, position, memory, hidden)

    def itself(x: Tensor) -> Tensor:
        return _own(self.self_attn.self_attn, x, position)

    def passed(x: Tensor) -> Tensor:
        out: Tensor = self.ffn.linear2(self.ffn.activation(self.ffn.linear1(x)))
        return out

    steps = [(cross, self.cross_attn.norm), (itself, self.self_attn.norm), (passed, self.ffn.norm)]
    return _steps(query, steps, self.cross_attn.normalize_before)


Step = tuple[Callable[[Tensor], Tensor], nn.Module]


def _steps(query: Tensor, steps: Sequence[Step], norm_first: bool) -> Tensor:
    for step, norm in steps:
        query = query + step(norm(query)) if norm_first else norm(query + step(query))
    return query


def _cross(
    module: nn.MultiheadAttention,
    query: Tensor,
    position: Tensor,
    memory: _Memory,
    hidden: Tensor | None = None,
) -> Tensor:
    """Attention of (N, Q, C) queries; ``hidden``, (N, Q, L), says what each does not see."""
    bias = None if hidden is None else torch.where(hidden, -torch.inf, 0.0).unsqueeze(1)
    return attention(module, query + position, memory.value + memory.position, memory.value, bias=bias)


def _own(self: Any, query: Tensor, position: Tensor) -> Tensor:
    """The attention of (N, Q, C) queries with each other."""
    placed = query + position
    projected = (self.q_proj(placed), self.k_proj(placed), self.v_proj(query))
    attended: Tensor = self.out_proj(attend(*(split_heads(x, self.num_heads) for x in projected)))
    return attended


def _memories(self: Any, maps: Sequence[Tensor]) -> list[_Memory]:
    memories = []
    for index, x in enumerate(maps[: self.num_feature_levels]):
        value = self.input_projections[index](x).flatten(2).transpose(1, 2)
        sine = positions(self.position_embedder, x.shape[-2:], x.device)
        memories.append(_Memory(value + self.level_embed.weight[index], sine.flatten(0, 1)))
    return memories


def _resized(features: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """(N, C, L) for each map: the features at its size. A mask is a product with them, whatever the order."""
    return [
        F.interpolate(features, size=x.shape[-2:], mode="bilinear", align_corners=False).flatten(2)
        for x in maps
    ]


def _unseen(masks: Tensor) -> Tensor:
    """(N, Q, L): where the mask of a query is off; nowhere, if it is off everywhere."""
    off = masks.sigmoid() < 0.5
    return off & ~off.all(dim=-1, keepdim=True)

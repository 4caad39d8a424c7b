"""Mask2Former and MaskFormer: queries that attend to maps, for a free batch and size.

mmdet paints a mask of the padding for each image in a loop, copies masks for each attention head, and merges
the batch and the heads. segplug's inputs have no padding that the network knows of. Here nothing is
painted, and the batch and the heads keep an axis each. Of the decoder's layers mmdet gives all answers, for
training; the last is the network's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.attention import attention
from segplug_torch.exportable.registry import method_form
from segplug_torch.exportable.sizes import Size
from torch import Tensor

from segplug_mmseg.exportable.sine_positions import sine_positions

__all__ = ["semantic_scores"]

HW = tuple[Size, Size]


@method_form("mmseg.models.decode_heads.mask2former_head.Mask2FormerHead", method="predict")
def _mask2former(self: Any, x: Any, batch_img_metas: list[dict[str, Any]], test_cfg: Any) -> Tensor:
    features, memories = self.pixel_decoder(x)
    levels = self.num_transformer_feat_level
    sizes = [memory.shape[-2:] for memory in memories]
    values, positions = [], []
    for index in range(levels):
        value = self.decoder_input_projs[index](memories[index]).flatten(2).transpose(1, 2)
        values.append(value + self.level_embed.weight[index])
        sine = sine_positions(self.decoder_positional_encoding, sizes[index], features)
        positions.append(sine.flatten(0, 1))
    query, query_pos = self.query_feat.weight[None], self.query_embed.weight[None]
    masks = _masks(self, query, features)
    for index, layer in enumerate(self.transformer_decoder.layers):
        level = index % levels
        hidden = _hidden(masks, sizes[level])
        value = values[level]
        query = _attend(layer.cross_attn, query, value, value, query_pos, positions[level], hidden)
        query = layer.norms[0](query)
        query = layer.norms[1](_attend(layer.self_attn, query, query, query, query_pos, query_pos))
        query = layer.norms[2](layer.ffn(query))
        masks = _masks(self, query, features)
    classes = self.cls_embed(self.transformer_decoder.post_norm(query))
    return semantic_scores(classes, masks, _size(batch_img_metas[0], "pad_shape"))


@method_form("mmseg.models.decode_heads.maskformer_head.MaskFormerHead", method="predict")
def _maskformer(self: Any, x: Any, batch_img_metas: list[dict[str, Any]], test_cfg: Any) -> Tensor:
    features, memory = self.pixel_decoder(x, batch_img_metas)
    position = sine_positions(self.decoder_pe, memory.shape[-2:], memory).flatten(0, 1)
    value = self.decoder_input_proj(memory).flatten(2).transpose(1, 2)
    query_pos = self.query_embed.weight[None]
    query = torch.zeros_like(query_pos)
    for layer in self.transformer_decoder.layers:
        query = layer.norms[0](_attend(layer.self_attn, query, query, query, query_pos, query_pos))
        query = layer.norms[1](_attend(layer.cross_attn, query, value, value, query_pos, position))
        query = layer.norms[2](layer.ffn(query))
    query = self.transformer_decoder.post_norm(query)
    masks = _product(self.mask_embed(query), features)
    return semantic_scores(self.cls_embed(query), masks, _size(batch_img_metas[0], "img_shape"))


@method_form("mmdet.models.layers.pixel_decoder.TransformerEncoderPixelDecoder")
def _encoding_pixel_decoder(self: Any, feats: Any, batch_img_metas: Any) -> tuple[Tensor, Tensor]:
    size = feats[-1].shape[-2:]
    position = sine_positions(self.positional_encoding, size, feats[-1]).flatten(0, 1)
    tokens = self.encoder_in_proj(feats[-1]).flatten(2).transpose(1, 2)
    for layer in self.encoder.layers:
        tokens = layer.norms[0](_attend(layer.self_attn, tokens, tokens, tokens, position, position))
        tokens = layer.norms[1](layer.ffn(tokens))
    memory = tokens.transpose(1, 2).unflatten(2, size)
    y = self.encoder_out_proj(memory)
    for index in range(self.num_inputs - 2, -1, -1):
        lateral = self.lateral_convs[index](feats[index])
        y = self.output_convs[index](lateral + F.interpolate(y, size=lateral.shape[-2:], mode="nearest"))
    return self.mask_feature(y), memory


def _attend(
    self: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_pos: Tensor,
    key_pos: Tensor,
    hidden: Tensor | None = None,
) -> Tensor:
    """mmcv's ``MultiheadAttention`` of (N, Q, C) queries with (N, L, C) keys and values.

    ``hidden``, (N, Q, L), says which keys a query does not see.
    """
    bias = None if hidden is None else torch.where(hidden, -torch.inf, 0.0).unsqueeze(1)
    out = attention(self.attn, query + query_pos, key + key_pos, value, bias=bias)
    added: Tensor = query + self.dropout_layer(self.proj_drop(out))
    return added


def _masks(self: Any, query: Tensor, features: Tensor) -> Tensor:
    return _product(self.mask_embed(self.transformer_decoder.post_norm(query)), features)


def _product(embeddings: Tensor, features: Tensor) -> Tensor:
    """(N, Q, H, W), from (N, Q, C) and (N, C, H, W)."""
    flat = embeddings @ features.flatten(2)
    product: Tensor = flat.unflatten(2, features.shape[-2:])  # type: ignore[no-untyped-call]
    return product


def _hidden(masks: Tensor, size: HW) -> Tensor:
    """(N, Q, H * W): where the mask of a query is off; nowhere, if it is off everywhere."""
    masks = F.interpolate(masks, size, mode="bilinear", align_corners=False)
    off = masks.flatten(2).sigmoid() < 0.5
    return off & ~off.all(dim=-1, keepdim=True)


def semantic_scores(classes: Tensor, masks: Tensor, size: Any) -> Tensor:
    """(N, classes, H, W): over the queries, the probability of each class times that of the mask."""
    masks = F.interpolate(masks, size=size, mode="bilinear", align_corners=False).sigmoid()
    classes = classes.softmax(dim=-1)[..., :-1]
    return _product(classes.transpose(1, 2), masks)


def _size(meta: dict[str, Any], first: str) -> Any:
    return meta.get(first, meta["img_shape"])

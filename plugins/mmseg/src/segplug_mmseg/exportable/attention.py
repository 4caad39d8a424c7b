"""Multi-head attention over tokens, which torch computes with the batch and the heads merged into one axis.

Where the batch and the number of tokens are formulas, each merge and each split is an equation of products
that the exporter has to prove, for every layer; a deep network takes it minutes. Here the batch, the tokens
and the heads each keep an axis, and where query, key and value come from one tensor they are projected at
once.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .padding import Size
from .registry import method_form, original_forward

__all__ = ["as_map", "attend", "heads_apart"]


@method_form("mmcv.cnn.bricks.transformer.MultiheadAttention")
def _multihead_attention(
    self: Any,
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    identity: Tensor | None = None,
    **others: Any,
) -> Tensor:
    one_source = (key is None or key is query) and (value is None or value is query)
    if not one_source or any(other is not None for other in others.values()) or not _is_plain(self.attn):
        attended: Tensor = original_forward(self)(query, key, value, identity, **others)
        return attended
    tokens = query if self.batch_first else query.transpose(0, 1)
    out = _self_attention(self.attn, tokens)
    out = out if self.batch_first else out.transpose(0, 1)
    identity = query if identity is None else identity
    added: Tensor = identity + self.dropout_layer(self.proj_drop(out))
    return added


@method_form("mmseg.models.backbones.mit.EfficientMultiheadAttention")
def _efficient_multihead_attention(
    self: Any, x: Tensor, hw_shape: tuple[Size, Size], identity: Any = None
) -> Tensor:
    """Takes and gives (N, H, W, C), or (N, H * W, C) as the original does."""
    if not _is_plain(self.attn) or not self.batch_first:
        flat = x if x.dim() == 3 else x.flatten(1, 2)
        given = identity.flatten(1, 2) if isinstance(identity, Tensor) and identity.dim() == 4 else identity
        attended: Tensor = original_forward(self)(flat, hw_shape, given)
        return attended if x.dim() == 3 else as_map(attended, hw_shape)
    tokens = x if x.dim() == 3 else x.flatten(1, 2)
    if self.sr_ratio > 1:
        reduced = self.sr(as_map(x, hw_shape).permute(0, 3, 1, 2))
        out = _cross_attention(self.attn, tokens, self.norm(reduced.flatten(2).transpose(1, 2)))
    else:
        out = _self_attention(self.attn, tokens)
    out = out if x.dim() == 3 else as_map(out, hw_shape)
    added: Tensor = (x if identity is None else identity) + self.dropout_layer(self.proj_drop(out))
    return added


def as_map(x: Tensor, hw_shape: tuple[Size, Size]) -> Tensor:
    """(N, H * W, C), or already (N, H, W, C), as (N, H, W, C)."""
    grid: Tensor = x if x.dim() == 4 else x.unflatten(1, hw_shape)  # type: ignore[no-untyped-call]
    return grid


def _is_plain(attention: nn.MultiheadAttention) -> bool:
    """Whether it only projects: one width for all inputs, and no keys of its own."""
    return attention._qkv_same_embed_dim and attention.bias_k is None and not attention.add_zero_attn


def _self_attention(attention: nn.MultiheadAttention, tokens: Tensor) -> Tensor:
    heads = attention.num_heads
    qkv = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = heads_apart(qkv, 3 * heads).chunk(3, dim=1)
    return F.linear(attend(q, k, v), attention.out_proj.weight, attention.out_proj.bias)


def _cross_attention(attention: nn.MultiheadAttention, tokens: Tensor, others: Tensor) -> Tensor:
    heads, width = attention.num_heads, attention.embed_dim
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    own_bias, other_bias = (None, None) if bias is None else (bias[:width], bias[width:])
    q = heads_apart(F.linear(tokens, weight[:width], own_bias), heads)
    k, v = heads_apart(F.linear(others, weight[width:], other_bias), 2 * heads).chunk(2, dim=1)
    return F.linear(attend(q, k, v), attention.out_proj.weight, attention.out_proj.bias)


def heads_apart(tokens: Tensor, heads: int) -> Tensor:
    """(..., L, heads * D) as (..., heads, L, D)."""
    width = tokens.shape[-1] // heads
    apart: Tensor = tokens.unflatten(-1, (heads, width)).transpose(-3, -2)  # type: ignore[no-untyped-call]
    return apart


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Scaled dot-product attention of (..., heads, L, D), with the heads side by side again: (..., L, C).

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        bias: Added to the scores before the softmax.
        scale: What the queries are multiplied by; D ** -0.5 if not given.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = (q * scale) @ k.transpose(-2, -1)
    scores = scores if bias is None else scores + bias
    return (scores.softmax(dim=-1) @ v).transpose(-3, -2).flatten(-2)

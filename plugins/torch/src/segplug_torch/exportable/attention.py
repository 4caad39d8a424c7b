"""Multi-head attention over tokens, with an axis of its own for the batch, the tokens and the heads.

torch merges the batch and the heads into one axis. Where the batch and the number of tokens are formulas,
each merge and each split is an equation of products that the exporter has to prove, for every layer; a deep
network takes it minutes. Here nothing is merged, and where query, key and value come from one tensor they
are projected at once.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["attend", "attention", "cross_attention", "is_plain", "self_attention", "split_heads"]


def is_plain(attention: nn.MultiheadAttention) -> bool:
    """Whether it only projects: one width for all inputs, and no keys of its own.

    :func:`self_attention` and :func:`cross_attention` compute no other kind.
    """
    return attention._qkv_same_embed_dim and attention.bias_k is None and not attention.add_zero_attn


def self_attention(attention: nn.MultiheadAttention, tokens: Tensor) -> Tensor:
    """``attention`` of (N, L, C) tokens with themselves, without masks."""
    heads = attention.num_heads
    qkv = F.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = split_heads(qkv, 3 * heads).chunk(3, dim=1)
    return F.linear(attend(q, k, v), attention.out_proj.weight, attention.out_proj.bias)


def cross_attention(attention: nn.MultiheadAttention, tokens: Tensor, others: Tensor) -> Tensor:
    """``attention`` of (N, L, C) tokens with (N, M, C) others, which are both keys and values."""
    heads, width = attention.num_heads, attention.embed_dim
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    own_bias, other_bias = (None, None) if bias is None else (bias[:width], bias[width:])
    q = split_heads(F.linear(tokens, weight[:width], own_bias), heads)
    k, v = split_heads(F.linear(others, weight[width:], other_bias), 2 * heads).chunk(2, dim=1)
    return F.linear(attend(q, k, v), attention.out_proj.weight, attention.out_proj.bias)


def attention(
    module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, *, bias: Tensor | None = None
) -> Tensor:
    """``module`` of (N, L, C) queries with (N, M, C) keys and values, each of its own.

    ``bias`` is added to the scores, (N, heads, L, M), before the softmax.
    """
    weights, together = module.in_proj_weight.chunk(3), module.in_proj_bias
    biases = (None,) * 3 if together is None else together.chunk(3)
    given = zip((query, key, value), weights, biases, strict=True)
    q, k, v = (split_heads(F.linear(*projection), module.num_heads) for projection in given)
    return F.linear(attend(q, k, v, bias=bias), module.out_proj.weight, module.out_proj.bias)


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(..., L, heads * D) as (..., heads, L, D)."""
    width = tokens.shape[-1] // heads
    split: Tensor = tokens.unflatten(-1, (heads, width)).transpose(-3, -2)  # type: ignore[no-untyped-call]
    return split


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Scaled dot-product attention of (..., heads, L, D), with the heads joined again: (..., L, C).

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        bias: Added to the scores before the softmax.
        scale: What the queries are multiplied by; ``None``: D ** -0.5.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = (q * scale) @ k.transpose(-2, -1)
    scores = scores if bias is None else scores + bias
    return (scores.softmax(dim=-1) @ v).transpose(-3, -2).flatten(-2)

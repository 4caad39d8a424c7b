"""The multi-head attention of mmcv and of SegFormer: the batch, the tokens and the heads keep an axis each.

Why: see :mod:`segplug_torch.exportable.attention`.
"""

from __future__ import annotations

from typing import Any

from segplug_torch.exportable.attention import cross_attention, is_plain, self_attention
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sizes import Size
from torch import Tensor

__all__ = ["as_map"]


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
    if not one_source or any(other is not None for other in others.values()) or not is_plain(self.attn):
        attended: Tensor = original_forward(self)(query, key, value, identity, **others)
        return attended
    tokens = query if self.batch_first else query.transpose(0, 1)
    out = self_attention(self.attn, tokens)
    out = out if self.batch_first else out.transpose(0, 1)
    identity = query if identity is None else identity
    added: Tensor = identity + self.dropout_layer(self.proj_drop(out))
    return added


@method_form("mmseg.models.backbones.mit.EfficientMultiheadAttention")
def _efficient_multihead_attention(
    self: Any, x: Tensor, hw_shape: tuple[Size, Size], identity: Any = None
) -> Tensor:
    """Takes and gives (N, H, W, C), or (N, H * W, C) as the original does."""
    if not is_plain(self.attn) or not self.batch_first:
        flat = x if x.dim() == 3 else x.flatten(1, 2)
        given = identity.flatten(1, 2) if isinstance(identity, Tensor) and identity.dim() == 4 else identity
        attended: Tensor = original_forward(self)(flat, hw_shape, given)
        return attended if x.dim() == 3 else as_map(attended, hw_shape)
    tokens = x if x.dim() == 3 else x.flatten(1, 2)
    if self.sr_ratio > 1:
        reduced = self.sr(as_map(x, hw_shape).permute(0, 3, 1, 2))
        out = cross_attention(self.attn, tokens, self.norm(reduced.flatten(2).transpose(1, 2)))
    else:
        out = self_attention(self.attn, tokens)
    out = out if x.dim() == 3 else as_map(out, hw_shape)
    added: Tensor = (x if identity is None else identity) + self.dropout_layer(self.proj_drop(out))
    return added


def as_map(x: Tensor, hw_shape: tuple[Size, Size]) -> Tensor:
    """(N, H * W, C), or already (N, H, W, C), as (N, H, W, C)."""
    grid: Tensor = x if x.dim() == 4 else x.unflatten(1, hw_shape)  # type: ignore[no-untyped-call]
    return grid

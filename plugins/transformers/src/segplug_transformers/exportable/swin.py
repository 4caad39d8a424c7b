"""Swin's shifted windows, of the backbone ``swin`` and of MaskFormer's own: see the window functions.

The map of a stage stays (N, H, W, C), which norms, linear layers and windows take, too. transformers flattens
it and back around every layer, and an export has to prove each time that products of sizes are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch.nn.functional as F
from segplug_torch.exportable.attention import attend, split_heads
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sizes import blocks, needed_padding
from segplug_torch.exportable.windows import attend_in_windows
from torch import Tensor, nn

__all__: list[str] = []


@method_form("transformers.models.swin.modeling_swin.SwinBackbone")
def _swin(self: Any, pixel_values: Tensor, **others: Any) -> Any:
    from transformers.modeling_outputs import BackboneOutput

    if "stem" in self.out_features or _asks_for_more(self.config, others):
        return original_forward(self)(pixel_values, **others)
    stages = _stages(self.swin, pixel_values)
    named = zip(self.stage_names[1:], stages, strict=True)
    maps = ((self.hidden_states_norms[name], x) for name, x in named if name in self.out_features)
    return BackboneOutput(feature_maps=_normed(maps))


@method_form("transformers.models.maskformer.modeling_maskformer_swin.MaskFormerSwinBackbone")
def _maskformer_swin(self: Any, pixel_values: Tensor, **others: Any) -> Any:
    from transformers.modeling_outputs import BackboneOutput

    if self.model.embeddings.position_embeddings is not None or _asks_for_more(self.config, others):
        return original_forward(self)(pixel_values, **others)
    stages = _stages(self.model, pixel_values)
    named = zip(self.stage_names[1:], self.hidden_states_norms, stages, strict=True)
    return BackboneOutput(
        feature_maps=_normed((norm, x) for name, norm, x in named if name in self.out_features)
    )


def _asks_for_more(config: Any, others: dict[str, Any]) -> bool:
    """Whether more than the maps is asked for, by the call or else by the config."""
    asked = [others.get(name) for name in ("output_hidden_states", "output_attentions")]
    given = [config.output_hidden_states, config.output_attentions]
    return any(own if ask is None else ask for ask, own in zip(asked, given, strict=True))


def _normed(maps: Iterable[tuple[nn.Module, Tensor]]) -> Any:
    """A tuple of (N, C, H, W); transformers declares it as a tuple of one."""
    # Contiguous: PyTorch's group norm of maps with the channels last loses two digits.
    return tuple(norm(x).permute(0, 3, 1, 2).contiguous() for norm, x in maps)


def _stages(self: Any, pixel_values: Tensor) -> Iterator[Tensor]:
    """What each stage gives before it is made smaller, (N, H, W, C)."""
    x = _embedded(self.embeddings, pixel_values)
    for stage in self.encoder.layers:
        for layer in stage.blocks:
            x = _layer(layer, x)
        yield x
        if stage.downsample is not None:
            x = _merged(stage.downsample, x)


def _embedded(self: Any, pixel_values: Tensor) -> Tensor:
    """The patches of an image, (N, H, W, C)."""
    projection = self.patch_embeddings.projection
    sizes = zip(pixel_values.shape[2:], projection.kernel_size, projection.stride, strict=True)
    bottom, right = (needed_padding(*axis) for axis in sizes)
    x = self.norm(projection(F.pad(pixel_values, (0, right, 0, bottom))).permute(0, 2, 3, 1))
    if self.position_embeddings is not None:  # in rows, whatever the map's own width
        x = (x.flatten(1, 2) + self.position_embeddings).reshape(x.shape)
    embedded: Tensor = self.dropout(x)
    return embedded


def _layer(self: Any, x: Tensor) -> Tensor:
    def attention(tokens: Tensor, mask: Tensor | None) -> Tensor:
        return _window_attention(self.attention, tokens, mask)

    attended = attend_in_windows(self.layernorm_before(x), self.window_size, self.shift_size, attention)
    x = x + self.drop_path(attended)
    normed = self.layernorm_after(x)
    passed: Tensor = self.mlp(normed) if hasattr(self, "mlp") else self.output(self.intermediate(normed))
    return x + passed


def _window_attention(self: Any, x: Tensor, mask: Tensor | None) -> Tensor:
    """Both models' attention on (N, windows, tokens, C) instead of (N * windows, tokens, C)."""
    if hasattr(self, "q_proj"):
        projections, output = (self.q_proj, self.k_proj, self.v_proj), self.o_proj
        relative, heads = self.relative_position_bias, self.num_attention_heads
    else:
        own = self.self
        projections, output = (own.query, own.key, own.value), self.output.dense
        relative, heads = own, own.num_attention_heads
    q, k, v = (split_heads(projection(x), heads) for projection in projections)
    tokens = x.shape[-2]
    bias = relative.relative_position_bias_table[relative.relative_position_index.reshape(-1)]
    bias = bias.reshape(tokens, tokens, heads).permute(2, 0, 1)
    if mask is not None:
        bias = bias + mask.unsqueeze(1)
    attended: Tensor = output(attend(q, k, v, bias=bias))
    return attended


def _merged(self: Any, x: Tensor) -> Tensor:
    """Four neighbours as one position, (N, H / 2, W / 2, 2 C); a reshape gathers them."""
    batch, height, width, channels = x.shape
    rows, columns = blocks(height, 2), blocks(width, 2)
    x = F.pad(x, (0, 0, 0, columns * 2 - width, 0, rows * 2 - height))
    x = x.reshape(batch, rows, 2, columns, 2, channels).permute(0, 1, 3, 4, 2, 5)
    merged: Tensor = self.reduction(self.norm(x.flatten(3)))
    return merged

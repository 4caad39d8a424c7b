"""SAN's side network and its attention biases, for a free batch and size.

mmseg asks whether a table of positions fits, cuts rows of tokens by numbers counted from the end, pools
biases to a grid that an export freezes, and paints a square of biases for each head of each image. Here the
tokens of the queries and those of the map are parts of known lengths; the pooling takes the largest of the
few cells that one covers; and queries and the rest attend one after the other, each with its own bias.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.attention import attend, split_heads
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sizes import Size
from torch import Tensor, nn

from segplug_mmseg.exportable.position_tables import fitting_positions
from segplug_mmseg.exportable.query_heads import semantic_scores

__all__ = ["adaptive_max_pool2d"]

HW = tuple[Size, Size]

_SAN = "mmseg.models.decode_heads.san_head"

_NOT_ATTENDED = -100.0
"""What mmseg adds to the attention of what should not see each other."""

_WIDEST = 4
"""The most cells of the finer grid that one of the coarser covers, along an axis, where sizes are not known:
the finer grid has at most 3 cells for one (mmseg's configs: 2, or 3 in an image of a few patches)."""


@method_form(f"{_SAN}.SideAdapterNetwork", method="encode_feature")
def _encode_feature(
    self: Any, image: Tensor, clip_features: list[list[Tensor]], deep_supervision_idxs: list[int]
) -> list[dict[str, Tensor]]:
    tokens, size = self.patch_embed(image)
    length, queries = size[0] * size[1], self.query_embed.shape[1]
    positions = torch.cat((self.query_pos_embed, _positions(self, size, length)), dim=1)

    def fused(tokens: Tensor, index: int) -> Tensor:
        clip = self.conv_clips[index](clip_features[index][0].contiguous())
        clip = F.interpolate(clip, size=size, mode="bilinear", align_corners=False)
        seen = tokens.narrow(1, queries, length) + clip.flatten(2).transpose(1, 2)
        return torch.cat((tokens.narrow(1, 0, queries), seen), dim=1)

    start = self.query_embed.expand(tokens.shape[0], -1, -1)
    tokens = torch.cat((start, tokens), dim=1) + positions
    fusions = 0
    if self.fusion_index[0] == 0:
        tokens, fusions = fused(tokens, 0), 1
    outs = []
    for index, block in enumerate(self.encode_layers, start=1):
        tokens = block(tokens)
        if index < len(self.fusion_index) and index == self.fusion_index[fusions]:
            tokens, fusions = fused(tokens, fusions), fusions + 1
        last = index == len(self.encode_layers)
        if last or index in deep_supervision_idxs:
            grid = tokens.narrow(1, queries, length).transpose(1, 2)
            outs.append({"query": tokens.narrow(1, 0, queries), "x": grid.unflatten(2, size)})
        if not last:
            tokens = tokens + positions
    return outs


def _positions(self: Any, size: HW, length: Size) -> Tensor:
    table = self.pos_embed
    rows, columns = self.patch_embed.init_out_size
    grid = table.reshape(1, rows, columns, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=size, mode="bicubic", align_corners=False)
    return fitting_positions(table, resized.flatten(2).transpose(1, 2), length)


@method_form(f"{_SAN}.MLPMaskDecoder")
def _mask_decoder(self: Any, query: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    query, pixels, size = self.query_mlp(query), self.pix_mlp(x), x.shape[-2:]
    masks = (query @ pixels.flatten(2)).unflatten(2, size)
    features = self.attn_mlp(x).flatten(2)
    shape = self.total_layers, self.total_heads, query.shape[-1]
    bias = query[:, None, None] @ features.unflatten(1, shape)
    if isinstance(self.bias_scaling, nn.Linear):  # from one number to one
        bias = bias * self.bias_scaling.weight.reshape(()) + self.bias_scaling.bias
    return masks, list(bias.unflatten(4, size).unbind(1))


@method_form(f"{_SAN}.RecWithAttnbias")
def _recognition(self: Any, bias: list[Tensor], feature: list[Tensor]) -> Tensor:
    if self.cross_attn or self.sos_token_format != "cls_token":
        recognised: Tensor = original_forward(self)(bias, feature)
        return recognised
    grid, of_image = feature[0], feature[1].unsqueeze(1)
    queries = self.sos_token_num
    biases = [_query_bias(each, (grid.shape[2], grid.shape[3])) for each in bias]
    biases = biases * self.num_layers if len(biases) == 1 else biases
    asking = of_image.expand(-1, queries, -1)
    tokens = torch.cat((asking, of_image, grid.flatten(2).transpose(1, 2)), dim=1)
    for layer, own in zip(self.layers, biases, strict=True):
        tokens = _layer(layer, tokens, own, queries)
    found = self.proj(self.ln_post(tokens.narrow(1, 0, queries)))
    return F.normalize(found, dim=-1) if self.final_norm else found


def _query_bias(bias: Tensor, size: HW) -> Tensor:
    """(N, heads, Q, Q + 1 + L): what is added where queries attend; each sees itself and the map."""
    batch, heads, queries, height, width = bias.shape
    pooled = adaptive_max_pool2d(bias.reshape(batch, heads * queries, height, width), size)
    seen = pooled.flatten(2).unflatten(1, (heads, queries))  # type: ignore[no-untyped-call]
    index = torch.arange(queries + 1, device=bias.device)
    unseen = torch.where(index[:-1, None] == index, 0.0, _NOT_ATTENDED)
    return torch.cat((unseen.expand(batch, heads, -1, -1), seen), dim=3)


def _layer(self: Any, tokens: Tensor, bias: Tensor, queries: int) -> Tensor:
    """mmcv's ``BaseTransformerLayer`` on (N, Q + 1 + L, C): norm, attention, norm, FFN."""
    module = self.attentions[0].attn
    qkv = F.linear(self.norms[0](tokens), module.in_proj_weight, module.in_proj_bias)
    q, k, v = split_heads(qkv, 3 * module.num_heads).chunk(3, dim=1)
    rest = tokens.shape[1] - queries
    hidden = torch.cat(
        (
            torch.full((queries,), _NOT_ATTENDED, device=tokens.device),
            torch.zeros(rest, device=tokens.device),
        )
    )
    attended = torch.cat(
        (
            attend(q.narrow(2, 0, queries), k, v, bias=bias),
            attend(q.narrow(2, queries, rest), k, v, bias=hidden),
        ),
        dim=1,
    )
    tokens = tokens + F.linear(attended, module.out_proj.weight, module.out_proj.bias)
    passed: Tensor = self.ffns[0](self.norms[1](tokens), tokens)
    return passed


@method_form(f"{_SAN}.SideAdapterCLIPHead", method="predict_by_feat")
def _predict_by_feat(self: Any, seg_logits: list[Tensor], batch_img_metas: list[dict[str, Any]]) -> Tensor:
    masks, classes = seg_logits
    return semantic_scores(classes, masks, batch_img_metas[0]["img_shape"])


def adaptive_max_pool2d(x: Tensor, size: HW) -> Tensor:
    """``F.adaptive_max_pool2d`` for (N, C, H, W) that follows H, W and ``size``."""
    for axis, cells in zip((2, 3), size, strict=True):
        x = _pooled(x, axis, cells)
    return x


def _pooled(x: Tensor, axis: int, cells: Size) -> Tensor:
    """The largest of the cells from floor(i n / k) to ceil((i + 1) n / k) - 1, for each i of k."""
    length, cell = torch.full((), x.shape[axis], device=x.device), torch.arange(cells, device=x.device)
    wanted = torch.full((), cells, device=x.device)
    first = cell * length // wanted
    last = ((cell + 1) * length + wanted - 1) // wanted - 1
    known = isinstance(x.shape[axis], int) and isinstance(cells, int)
    widest = -(-x.shape[axis] // cells) + 1 if known else _WIDEST
    pooled = x.index_select(axis, first)
    for offset in range(1, widest):
        pooled = torch.maximum(pooled, x.index_select(axis, torch.minimum(first + offset, last)))
    return pooled

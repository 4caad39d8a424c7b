"""PSANet's head: a compiled operator, and a choice between two ways to resize that the size decides.

The head halves its map (or divides it by another factor). Where neither side can be halved exactly, mmseg
rounds up and aligns corners; otherwise it rounds down and does not. An export would freeze what it sees
once. Here the rounding is arithmetic, and while the size is not known a resize is two products with small
matrices, one for each axis, made from the size and from whether corners are aligned. ONNX's Resize has that
choice as an attribute, so both would have to be computed; and TensorRT cannot infer one to a size that
depends on how both sides are rounded. The operator is in :mod:`segplug_mmseg.ops`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sizes import Size, as_symbol, blocks
from torch import Tensor

from segplug_mmseg.ops import COLLECT, psa_windows

__all__ = ["interpolation"]

HW = tuple[Size, Size]


@method_form("mmseg.models.decode_heads.psa_head.PSAHead")
def _psa_head(self: Any, inputs: Any) -> Tensor:
    if self.compact:  # the window is the whole map, which so has one size only
        logits: Tensor = original_forward(self)(inputs)
        return logits
    x = self._transform_inputs(inputs)
    size, aligned = x.shape[2:], int(self.align_corners)
    if self.shrink_factor != 1:
        size, aligned = _shrunk(size, self.shrink_factor)
    if self.psa_type == "bi-direction":
        collect, distribute = self.psamask_collect, self.psamask_distribute
        branches = [(self.reduce, self.attention, collect), (self.reduce_p, self.attention_p, distribute)]
    else:
        branches = [(self.reduce, self.attention, self.psamask)]
    attended = []
    for reduce, attention, mask in branches:
        features = reduce(x)
        if self.shrink_factor != 1:
            features = _resize(features, size, aligned)
        windows = psa_windows(attention(features), mask.mask_size)
        weights = _weights(windows, mask.psa_type_enum, softmax=self.psa_softmax)
        attended.append(_attend(features, weights) * (1.0 / self.normalization_factor))
    context = _resize(self.proj(torch.cat(attended, dim=1)), x.shape[2:], aligned)
    logits = self.cls_seg(self.bottleneck(torch.cat((x, context), dim=1)))
    return logits


def _shrunk(size: HW, factor: int) -> tuple[HW, Size]:
    """The map's size divided by ``factor``, and 1 where corners are then aligned, else 0."""
    height, width = (edge // factor for edge in size)
    neither_divides = (blocks(size[0], factor) - height) * (blocks(size[1], factor) - width)
    return (as_symbol(height + neither_divides), as_symbol(width + neither_divides)), neither_divides


def _resize(x: Tensor, size: HW, aligned: Size) -> Tensor:
    if isinstance(aligned, int):
        return F.interpolate(x, size=size, mode="bilinear", align_corners=bool(aligned))
    rows, columns = (interpolation(*axis, aligned, x) for axis in zip(x.shape[2:], size, strict=True))
    return rows @ (x @ columns.transpose(0, 1))


def interpolation(length: Size, wanted: Size, aligned: Size, like: Tensor) -> Tensor:
    """(wanted, length): row i is how much of each given cell is in the i-th one of a bilinear resize.

    Whole numbers up to the one division at the end: places in half precision would be off by percents of a
    cell. ``aligned`` is 1 where corners are aligned, else 0.
    """
    given, asked = (torch.full((), number, device=like.device) for number in (length, wanted))
    corners = torch.full((), aligned, device=like.device) > 0
    target = torch.arange(wanted, device=like.device)[:, None]
    cell = torch.arange(length, device=like.device)[None, :]
    # Places are counted in steps, of which so many lie between two given cells:
    steps = torch.where(corners, (asked - 1).clamp(min=1), 2 * asked)
    place = torch.where(corners, target * (given - 1), (2 * target + 1) * given - asked)
    place = torch.minimum(place.clamp(min=0), (given - 1) * steps)
    share = (steps - (place - cell * steps).abs()).clamp(min=0)
    return share.to(like.dtype) / steps.to(like.dtype)


def _weights(windows: Tensor, direction: int, *, softmax: bool) -> Tensor:
    """(N, H * W that take, H * W that give): how much each position takes of each other."""
    # The positions that give come last, where a softmax over them is fast.
    taking_first = (0, 2, 4, 1, 3) if direction == COLLECT else (0, 1, 3, 2, 4)
    weights = windows.permute(taking_first).flatten(3, 4).flatten(1, 2)
    return weights.softmax(dim=-1) if softmax else weights


def _attend(features: Tensor, weights: Tensor) -> Tensor:
    return (features.flatten(2) @ weights.transpose(1, 2)).reshape(features.shape)

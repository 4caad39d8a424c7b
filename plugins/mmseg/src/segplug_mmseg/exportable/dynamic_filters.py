"""DMNet's filters, of which each image has its own: a convolution whose number of groups is the batch's size.

ONNX writes that number into the operator, so it cannot follow the batch. Where the batch is dynamic, the
convolution is a matrix product over the columns of each filter and a sum over its rows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form, original_forward
from torch import Tensor

__all__ = ["filter_each"]


@method_form("mmseg.models.decode_heads.dm_head.DCM")
def _dynamic_convolution(self: Any, x: Tensor) -> Tensor:
    if isinstance(x.shape[0], int):
        out: Tensor = original_forward(self)(x)
        return out
    filters = self.filter_gen_conv(F.adaptive_avg_pool2d(x, self.filter_size))
    out = filter_each(self.input_redu_conv(x), filters)
    out = self.activate(out if self.norm is None else self.norm(out))
    return self.fusion_conv(out) if self.fusion else out


def filter_each(x: Tensor, filters: Tensor) -> Tensor:
    """Correlate each channel of each image with its own square filter; the map keeps its size.

    Args:
        x: (N, C, H, W).
        filters: (N, C, k, k). Where k is even, the filter reaches one further to the top and the left.
    """
    (height, width), side = x.shape[2:], filters.shape[-1]
    before, after = side // 2, (side - 1) // 2
    x = F.pad(x, (before, after, before, after))
    shifted = torch.stack([x.narrow(3, column, width) for column in range(side)], dim=2)
    rows = (filters @ shifted.flatten(3)).reshape(shifted.shape)  # (N, C, k, H + k - 1, W)
    out: Tensor = rows[:, :, 0].narrow(2, 0, height)
    for row in range(1, side):
        out = out + rows[:, :, row].narrow(2, row, height)
    return out

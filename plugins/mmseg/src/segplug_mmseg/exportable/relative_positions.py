"""BEiT's and MAE's table of relative positions, whose index every layer keeps as a buffer of its own.

The index is made instead: see :mod:`segplug_torch.exportable.relative_positions`.
The window is the training size: mmseg itself takes no other number of patches.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.attention import attend, split_heads
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.relative_positions import relative_position_index
from torch import Tensor

__all__: list[str] = []


@method_form("mmseg.models.backbones.beit.BEiTAttention")
def _beit_attention(self: Any, x: Tensor) -> Tensor:
    table = self.relative_position_bias_table
    if table is None:
        unbiased: Tensor = original_forward(self)(x)
        return unbiased
    rows, columns = self.window_size
    tokens = 1 + rows * columns
    index = relative_position_index(rows, columns, table.device)
    bias = table.index_select(0, index.flatten()).unflatten(0, (tokens, tokens)).permute(2, 0, 1)
    q, k, v = split_heads(_projected(self, x), 3 * self.num_heads).chunk(3, dim=1)
    attended: Tensor = self.proj_drop(self.proj(attend(q, k, v, bias=bias, scale=self.scale)))
    return attended


def _projected(self: Any, x: Tensor) -> Tensor:
    if self.bias != "qv_bias":
        qkv: Tensor = self.qkv(x)
        return qkv
    no_bias = torch.zeros_like(self.v_bias)
    return F.linear(x, self.qkv.weight, torch.cat((self.q_bias, no_bias, self.v_bias)))

"""BEiT's and MAE's table of relative positions, whose index every layer keeps as a buffer of its own.

The index has a number for each pair of patches: 20 MB in each of twelve layers for 40 x 40 patches, a third
of an exported file. It is arithmetic on the size of the window, which takes no room in a graph.
The window is the training size: mmseg itself takes no other number of patches.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.attention import attend, split_heads
from segplug_torch.exportable.registry import method_form, original_forward
from torch import Tensor

__all__ = ["relative_position_index"]


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


def relative_position_index(rows: int, columns: int, device: torch.device) -> Tensor:
    """Which entry of the table stands for each pair of tokens: the class token, then the patches in rows.

    The table ends in three entries for the class token: to a patch, from a patch, to itself.

    Returns:
        (1 + rows * columns, 1 + rows * columns), of whole numbers.
    """
    patch = torch.arange(rows * columns, device=device)
    row, column = patch // columns, patch % columns
    down = row[:, None] - row[None, :] + rows - 1
    right = column[:, None] - column[None, :] + columns - 1
    pairs = down * (2 * columns - 1) + right
    to_patch, from_patch, to_itself = (
        torch.full((1, 1), (2 * rows - 1) * (2 * columns - 1) + entry, device=device) for entry in range(3)
    )
    of_class = torch.cat((to_itself, to_patch.expand(1, rows * columns)), dim=1)
    of_patches = torch.cat((from_patch.expand(rows * columns, 1), pairs), dim=1)
    return torch.cat((of_class, of_patches))

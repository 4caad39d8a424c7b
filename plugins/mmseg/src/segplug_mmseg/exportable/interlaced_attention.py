"""ISANet's attention within and across blocks, whose padding and number of blocks an export would freeze.

mmseg asks whether padding is needed, and merges the blocks into the batch so that convolutions take them.
Those convolutions have 1 x 1 kernels, and their batch norms have statistics of their own: they see no
neighbours and give the same on the whole map. Here the padding follows the size, the map is projected whole,
and blocks are parted for the attention alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sizes import as_symbol, blocks
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

__all__: list[str] = []

_ACROSS_BLOCKS = (0, 3, 5, 2, 4, 1)
_WITHIN_BLOCKS = (0, 2, 4, 3, 5, 1)
"""From (N, C, rows, block height, columns, block width): what is apart, the positions, the channels."""


@method_form("mmseg.models.decode_heads.isa_head.ISAHead")
def _isa_head(self: Any, inputs: Any) -> Tensor:
    if not (_is_pointwise(self.global_relation) and _is_pointwise(self.local_relation)):
        as_it_is: Tensor = original_forward(self)(inputs)
        return as_it_is
    residual = self.in_conv(self._transform_inputs(inputs))
    (height, width), (block_h, block_w) = residual.shape[2:], self.down_factor
    rows, columns = as_symbol(blocks(height, block_h)), as_symbol(blocks(width, block_w))
    # Half the padding, from remainders and not from a difference: see as_symbol.
    top, left = -height % block_h // 2, -width % block_w // 2
    x = F.pad(residual, (left, columns * block_w - width - left, top, rows * block_h - height - top))
    grid = (rows, block_h, columns, block_w)
    x = _relation(self.global_relation, x, grid, _ACROSS_BLOCKS)
    x = _relation(self.local_relation, x, grid, _WITHIN_BLOCKS)
    x = x.narrow(2, top, height).narrow(3, left, width)
    logits: Tensor = self.cls_seg(self.out_conv(torch.cat([x, residual], dim=1)))
    return logits


def _is_pointwise(block: nn.Module) -> bool:
    """Whether no norm in it looks at other positions than the one that it norms."""
    norms = [part for part in block.modules() if isinstance(part, (_NormBase, nn.GroupNorm))]
    return all(isinstance(norm, _BatchNorm) and norm.running_mean is not None for norm in norms)


def _relation(
    block: Any, x: Tensor, grid: tuple[int, int, int, int], order: tuple[int, int, int, int, int, int]
) -> Tensor:
    """mmseg's self-attention block on the groups that ``order`` makes of the map, as a map again."""

    def parted(features: Tensor) -> Tensor:
        batch, channels = features.shape[:2]
        return features.reshape(batch, channels, *grid).permute(order)

    query, key, value = (
        parted(project(x)) for project in (block.query_project, block.key_project, block.value_project)
    )
    scores = query.flatten(3, 4) @ key.flatten(3, 4).transpose(-2, -1)
    attended = (scores * block.channels**-0.5).softmax(dim=-1) @ value.flatten(3, 4)
    inverse = sorted(range(6), key=order.__getitem__)
    attended = (
        attended.reshape(value.shape).permute(inverse).reshape(value.shape[0], value.shape[-1], *x.shape[2:])
    )
    out: Tensor = block.output_project(attended)
    return out

"""BEiT's and data2vec's table of relative positions, resized to the input, and its index, which is made.

transformers reads the size of the table as Python numbers, which an export would freeze, and fills in the
index of all pairs of patches: see :mod:`segplug_torch.exportable.relative_positions`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.relative_positions import relative_position_index
from segplug_torch.exportable.sizes import Size
from torch import Tensor

__all__: list[str] = []


@method_form(
    "transformers.models.beit.modeling_beit.BeitRelativePositionBias",
    "transformers.models.data2vec.modeling_data2vec_vision.Data2VecVisionRelativePositionBias",
)
def _relative_position_bias(
    self: Any,
    window_size: tuple[Size, Size],
    interpolate_pos_encoding: bool = False,
    dim_size: Size | None = None,
) -> Tensor:
    """(1, heads, 1 + patches, 1 + patches)."""
    if interpolate_pos_encoding:
        stretched: Tensor = original_forward(self)(window_size, interpolate_pos_encoding, dim_size)
        return stretched
    rows, columns = window_size
    table = self.relative_position_bias_table
    pairs, of_class = table[:-3], table[-3:]
    # transformers takes the columns of the table for its rows, which matters where they differ.
    kept = 2 * self.window_size[1] - 1, 2 * self.window_size[0] - 1
    wanted = 2 * rows - 1, 2 * columns - 1
    known = isinstance(rows, int) and isinstance(columns, int)
    if not known or wanted != kept:
        grid = pairs.unflatten(0, kept).permute(2, 0, 1).unsqueeze(0)
        pairs = F.interpolate(grid, size=wanted, mode="bilinear").squeeze(0).flatten(1).transpose(0, 1)
    index = relative_position_index(rows, columns, table.device)
    bias = F.embedding(index, torch.cat((pairs, of_class)))
    return bias.permute(2, 0, 1).unsqueeze(0)

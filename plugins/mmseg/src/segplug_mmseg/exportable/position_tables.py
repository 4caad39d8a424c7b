"""Tables of position embeddings, made for the training size and resized to that of the input.

mmseg's vision transformer asks whether the input has as many patches as the table, and resizes the table
only if not. An export would freeze the answer. Here, for a size that is only known later, the graph
has both: the table is resized to every size, and taken as it is where the numbers agree. (They do at the
training size, and for any other grid of as many patches: mmseg then takes the positions in their order,
though the rows have another length.)
"""

from __future__ import annotations

from typing import Any

import torch
from segplug_torch.exportable.registry import method_form
from segplug_torch.exportable.sizes import Size
from torch import Tensor

__all__ = ["fitting_positions"]


@method_form("mmseg.models.backbones.vit.VisionTransformer", method="_pos_embeding")
def _with_positions(self: Any, tokens: Tensor, hw_shape: tuple[Size, Size], table: Tensor) -> Tensor:
    rows, columns = (edge // self.patch_size for edge in self.img_size)
    trained = rows * columns + 1
    if isinstance(tokens.shape[1], int) or table.shape[1] != trained:
        embedded: Tensor = type(self)._pos_embeding(self, tokens, hw_shape, table)
        return embedded
    resized = self.resize_pos_embed(table, hw_shape, (rows, columns), self.interpolate_mode)
    dropped: Tensor = self.drop_after_pos(tokens + fitting_positions(table, resized, tokens.shape[1]))
    return dropped


def fitting_positions(table: Tensor, resized: Tensor, length: Size) -> Tensor:
    """(1, length, C): ``table`` as it is if it has so many positions, else ``resized``."""
    trained = table.shape[1]
    if isinstance(length, int):
        return table if length == trained else resized
    position = torch.arange(length, device=table.device)
    as_it_is = table.index_select(1, position.clamp(max=trained - 1))
    # The last position, asked as a tensor: the size itself would have to be known now.
    return torch.where(position[-1] == trained - 1, as_it_is, resized)

"""The index of relative positions, as BEiT has it, made instead of kept.

A framework keeps a number for each pair of patches: 20 MB in each of twelve layers for 40 x 40 patches, a
third of an exported file. It is arithmetic on the size of the window, which takes no room in a graph and
follows a size that is only known later.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .sizes import Size

__all__ = ["relative_position_index"]


def relative_position_index(rows: Size, columns: Size, device: torch.device) -> Tensor:
    """Which entry of the table stands for each pair of tokens: the class token, then the patches in rows.

    The table ends in three entries for the class token: to a patch, from a patch, to itself.

    Returns:
        (1 + rows * columns, 1 + rows * columns), of whole numbers.
    """
    patch = torch.arange(rows * columns, device=device)
    width = torch.full((), columns, device=device)
    row, column = patch // width, patch % width
    down = row[:, None] - row[None, :] + rows - 1
    right = column[:, None] - column[None, :] + columns - 1
    pairs = down * (2 * columns - 1) + right
    of_pairs = (2 * rows - 1) * (2 * columns - 1)
    to_patch, from_patch, to_itself = (torch.arange(3, device=device) + of_pairs).view(3, 1, 1)
    of_class = torch.cat((to_itself, to_patch.expand(1, rows * columns)), dim=1)
    of_patches = torch.cat((from_patch.expand(rows * columns, 1), pairs), dim=1)
    return torch.cat((of_class, of_patches))

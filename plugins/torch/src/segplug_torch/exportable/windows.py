"""Attention inside shifted windows, as Swin has it: an export of a framework's code freezes shapes and mask.

Frameworks pad to whole windows only if the sample needs it, merge the windows into the batch and recover the
batch by a division, and paint the mask slice by slice. Here the padding and the number of windows follow the
size, the batch keeps its own axis, and the mask is a comparison of index vectors.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .sizes import Size, blocks

__all__ = ["attend_in_windows", "shift_mask"]

_NOT_ATTENDED = -100.0
"""What Swin adds to the attention between positions of different regions."""


def attend_in_windows(
    x: Tensor, window: int, shift: int, attend: Callable[[Tensor, Tensor | None], Tensor]
) -> Tensor:
    """``attend`` inside each window of a map, which is padded with 0 to whole windows.

    Args:
        x: (N, H, W, C).
        window: The windows' height and width.
        shift: How far the windows are moved to the lower right; 0: not.
        attend: Takes the tokens of all windows, (N, windows, window * window, C), and what is added to the
            scores, (windows, window * window, window * window) or ``None``; gives tokens of the same shape.

    Returns:
        (N, H, W, C).
    """
    batch, height, width, channels = x.shape
    rows, columns = blocks(height, window), blocks(width, window)
    x = F.pad(x, (0, 0, 0, columns * window - width, 0, rows * window - height))
    if shift:
        x = torch.roll(x, shifts=(-shift, -shift), dims=(1, 2))
    x = x.reshape(batch, rows, window, columns, window, channels).transpose(2, 3)
    x = x.reshape(batch, rows * columns, window * window, channels)
    x = attend(x, shift_mask(rows, columns, window, shift, x) if shift else None)
    x = x.reshape(batch, rows, columns, window, window, channels).transpose(2, 3)
    x = x.reshape(batch, rows * window, columns * window, channels)
    if shift:
        x = torch.roll(x, shifts=(shift, shift), dims=(1, 2))
    return x.narrow(1, 0, height).narrow(2, 0, width)


def shift_mask(rows: Size, columns: Size, window: int, shift: int, like: Tensor) -> Tensor:
    """What is added to the attention inside each window: 0 within a region of the image, -100 across.

    The cyclic shift brings rows and columns from the far side into the last windows; positions of
    different sides must not see each other.

    Returns:
        (rows * columns, window * window, window * window), of ``like``'s dtype and device.
    """
    row_regions, column_regions = (_regions(count, window, shift, like) for count in (rows, columns))
    region = 3 * row_regions[:, None, :, None] + column_regions[None, :, None, :]
    region = region.reshape(rows * columns, window * window)
    across = region.unsqueeze(1) != region.unsqueeze(2)
    return across.to(like.dtype) * _NOT_ATTENDED


def _regions(count: Size, window: int, shift: int, like: Tensor) -> Tensor:
    """(count, window): 0 before the last window, there 1 up to the shift and 2 behind it."""
    position = torch.arange(count * window, device=like.device).reshape(count, window)
    return (position >= (count - 1) * window).long() + (position >= count * window - shift).long()

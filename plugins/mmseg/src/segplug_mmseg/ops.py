"""The compiled operators of mmcv that networks call, in plain torch.

They follow any size, also one that is only known later, so that an export computes the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["COLLECT", "COMPILED", "psa_windows", "psamask_forward"]

COLLECT = 0
"""mmcv's number for a mask of the positions that each position takes from; 1: of those that it gives to."""


def psa_windows(mask: Tensor, window: tuple[int, int]) -> Tensor:
    """The window of weights that PSANet predicts around each position, laid onto the whole map.

    Args:
        mask: (N, window height * window width, H, W): the channels at (h, w) are the weights of a window
            that has (h, w) in its middle.
        window: Height and width of the window.

    Returns:
        (N, H, H, W, W), at [n, i, h, j, w] the weight of (i, j) in the window around (h, w), and 0 where
        (i, j) lies outside of it. To index the axes one after the other needs neither an index nor a copy
        larger than this.
    """
    (window_h, window_w), (batch, _, height, width) = window, mask.shape
    mask = mask.reshape(batch, window_h, window_w, height, width)
    # A row and a column of zeros after the window are read for everything outside of it.
    mask = torch.nn.functional.pad(mask, (0, 0, 0, 0, 0, 1, 0, 1))
    mask = mask.transpose(2, 3).reshape(batch, (window_h + 1) * height, (window_w + 1) * width)
    return mask[:, _offsets(height, window_h, mask.device)][..., _offsets(width, window_w, mask.device)]


def _offsets(length: int, window: int, device: torch.device) -> Tensor:
    """(length, length): at [i, h] where, on a flattened (window + 1, length), h's window holds i."""
    position = torch.arange(length, device=device)
    cell = position[:, None] - position[None, :] + (window - 1) // 2
    cell = torch.where((cell >= 0) & (cell < window), cell, window)
    return cell * length + position[None, :]


def psamask_forward(
    input: Tensor,
    output: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """``mmcv._ext.psamask_forward``: fills ``output``, (N, H * W, H, W), from PSANet's ``input`` mask.

    The sizes are those of the tensors, and a half is that of the mask, as mmcv calls it.
    """
    windows = psa_windows(input, (h_mask, w_mask))
    order = (0, 1, 3, 2, 4) if psa_type == COLLECT else (0, 2, 4, 1, 3)
    by_position = windows.permute(order)  # (N, i, j, h, w), or (N, h, w, i, j)
    output.copy_(by_position.reshape(num_, h_feature * w_feature, h_feature, w_feature))


COMPILED: dict[str, Callable[..., None]] = {"psamask_forward": psamask_forward}
"""The operators, by their names in ``mmcv._ext``."""

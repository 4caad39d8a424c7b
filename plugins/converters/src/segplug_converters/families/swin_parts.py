"""Rules that Swin's layouts share: the channels of downsamplings, and tensors that only mmseg has."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from segplug_converters import WEIGHT_OR_BIAS, Rule, make, reorder, reshape
from segplug_converters.families.new_norm import new_norm

if TYPE_CHECKING:
    import torch

__all__ = ["FLATTENED", "MADE", "NO_SHIFT", "POSITIONS", "QKV_BIASES", "UNFOLDED", "WORDS"]

# "d" are the stages that a downsampling follows. They are listed, not read from the names: timm and the
# official repository differ only in the number of a downsampling.
WORDS = {**WEIGHT_OR_BIAS, "n": ("1", "2"), "d": ("0", "1", "2")}

# parts that a Swin may lack
POSITIONS = "absolute positions"
QKV_BIASES = "the biases of q, k and v"

NO_SHIFT = (
    "if a stage's map is no larger than the window, the classifier does not shift its windows, but mmseg and "
    "segmentation networks do: at the image size of the training (224 pixels with windows of 7, 384 with 12) "
    "the last stage's features differ"
)


def _channels_to_front(tensor: torch.Tensor) -> torch.Tensor:
    """``(..., 4C)``, four neighbours by column, row, channel: by channel, row, column, as Unfold does."""
    *rows, width = tensor.shape
    return tensor.reshape(*rows, 2, 2, width // 4).transpose(-1, -3).reshape(tensor.shape)


def _channels_to_back(tensor: torch.Tensor) -> torch.Tensor:
    *rows, width = tensor.shape
    return tensor.reshape(*rows, width // 4, 2, 2).transpose(-1, -3).reshape(tensor.shape)


UNFOLDED = reorder(
    "the four neighbours of a downsampling, channels first", _channels_to_front, _channels_to_back
)


def _as_sequence(tensor: torch.Tensor) -> torch.Tensor:
    """``(1, C, rows, columns)`` to ``(1, L, C)``."""
    if tensor.ndim != 4:
        raise ValueError(f"it has {tensor.ndim} dimensions, not 4")
    return tensor.flatten(2).transpose(1, 2).contiguous()


def _as_map(tensor: torch.Tensor) -> torch.Tensor:
    """``(1, L, C)`` to ``(1, C, side, side)``: the map is square, as mmseg does not store its shape."""
    _, places, width = tensor.shape
    side = isqrt(places)
    if side**2 != places:
        raise ValueError(f"its {places} places are no square")
    return tensor.transpose(1, 2).reshape(1, width, side, side)


FLATTENED = reshape("a map to a sequence", _as_sequence, _as_map)


def _relative_positions(table: torch.Tensor) -> torch.Tensor:
    """The row of the table that every pair of positions in a window uses.

    Args:
        table: A row for each offset, ``((2 * window - 1) ** 2, heads)``.

    Returns:
        int64 ``(window ** 2, window ** 2)``.
    """
    import torch

    side = isqrt(table.shape[0])  # offsets along an axis: 2 * window - 1
    window = (side + 1) // 2
    axis = torch.arange(window, device=table.device)
    offsets = axis[:, None] - axis[None, :] + window - 1
    # axes: row and column of the first position, then of the second
    rows, columns = offsets[:, None, :, None], offsets[None, :, None, :]
    return (rows * side + columns).reshape(window**2, window**2)


MADE: tuple[Rule, ...] = (
    make(
        "stages.<s>.blocks.<i>.attn.w_msa.relative_position_index",
        "stages.<s>.blocks.<i>.attn.w_msa.relative_position_bias_table",
        "a constant of the window size",
        _relative_positions,
        optional_target=False,
    ),
    *new_norm("norm<s>", "stages.<s>.blocks.0.norm1"),
)

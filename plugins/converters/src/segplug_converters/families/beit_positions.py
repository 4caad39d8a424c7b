"""Tensors that only mmseg's BEiT and MAE have: indices, and values without an effect."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from segplug.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = ["heads_of", "index_of_embedding", "index_of_table", "no_bias", "ones", "window_of"]

_CLASS_TOKEN = 3
"""Rows of a table for the class token: class token to patch, patch to class token, class token to itself."""
_CHANNELS_OF_A_HEAD = 64
_HEADS_OF_HUGE = {1280: 16}


def window_of(rows: int) -> int:
    """The side, in patches, of the square image that a table of relative positions is for.

    Raises:
        CheckpointError: the table is for no square image.
    """
    edge = math.isqrt(max(rows - _CLASS_TOKEN, 0))
    if edge % 2 == 0 or edge * edge != rows - _CLASS_TOKEN:
        raise CheckpointError(f"a table of {rows} relative positions is for no square image")
    return (edge + 1) // 2


def heads_of(width: int) -> int:
    """The heads of a published ViT with these channels; they cannot be read from its weights.

    Raises:
        CheckpointError: the number is not known for these channels.
    """
    heads, rest = divmod(width, _CHANNELS_OF_A_HEAD)
    if rest:
        raise CheckpointError(
            f"the number of heads cannot be read from the weights, and {width} channels are no multiple of "
            f"{_CHANNELS_OF_A_HEAD}, the channels of a head in all published MAE but the huge one"
        )
    return _HEADS_OF_HUGE.get(width, heads)


def index_of_table(table: torch.Tensor) -> torch.Tensor:
    """The row of the table that each pair of tokens uses: ``(1 + window^2, 1 + window^2)``, int64."""
    return _index(window_of(len(table)))


def index_of_embedding(positions: torch.Tensor) -> torch.Tensor:
    """The same for an embedding of ``(1, 1 + window^2, width)``."""
    return _index(_window_of_embedding(positions))


def no_bias(positions: torch.Tensor) -> torch.Tensor:
    """A table of relative positions that adds nothing, for an embedding of ``(1, 1 + window^2, width)``."""
    rows = (2 * _window_of_embedding(positions) - 1) ** 2 + _CLASS_TOKEN
    return positions.new_zeros(rows, heads_of(positions.shape[-1]))


def ones(like: torch.Tensor) -> torch.Tensor:
    """A scale without an effect."""
    return like.new_ones(like.shape)


def _window_of_embedding(positions: torch.Tensor) -> int:
    if positions.ndim != 3:
        raise CheckpointError(f"pos_embed has {positions.ndim} dimensions, not 3: image, tokens, channels")
    patches = positions.shape[1] - 1
    window = math.isqrt(patches)
    if window * window != patches:
        raise CheckpointError(f"pos_embed has positions of {patches} patches, not those of a square image")
    return window


def _index(window: int) -> torch.Tensor:
    import torch

    edge = 2 * window - 1
    line, column = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    place = line.flatten() * edge + column.flatten()
    index = torch.empty(1 + window**2, 1 + window**2, dtype=torch.int64)
    index[1:, 1:] = place[:, None] - place[None, :] + edge * edge // 2
    index[0, :], index[:, 0], index[0, 0] = edge**2, edge**2 + 1, edge**2 + 2
    return index

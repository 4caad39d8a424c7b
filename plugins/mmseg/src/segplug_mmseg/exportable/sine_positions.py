"""The sine positions of mmdet's transformers, for maps without padding."""

from __future__ import annotations

from typing import Any

from segplug_torch.exportable import sine_positions as shared
from segplug_torch.exportable.sizes import Size
from torch import Tensor

__all__ = ["sine_positions"]


def sine_positions(encoding: Any, size: tuple[Size, Size], like: Tensor) -> Tensor:
    """(H, W, C): what mmdet's ``SinePositionalEncoding`` gives where no cell is padding."""
    return shared.sine_positions(
        size,
        encoding.num_feats,
        like.device,
        temperature=encoding.temperature,
        scale=encoding.scale if encoding.normalize else None,
        offset=encoding.offset,
        eps=encoding.eps,
    )

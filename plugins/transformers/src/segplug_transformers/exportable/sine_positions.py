"""The sine positions of MaskFormer and its successors, which transformers computes for the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from segplug_torch.exportable.registry import method_form, original_forward
from segplug_torch.exportable.sine_positions import sine_positions
from segplug_torch.exportable.sizes import Size
from torch import Tensor

__all__ = ["positions"]

_MODELS = "transformers.models"


@method_form(
    f"{_MODELS}.maskformer.modeling_maskformer.MaskFormerSinePositionEmbedding",
    f"{_MODELS}.mask2former.modeling_mask2former.Mask2FormerSinePositionEmbedding",
    f"{_MODELS}.oneformer.modeling_oneformer.OneFormerSinePositionEmbedding",
)
def _sine_position_embedding(
    self: Any,
    shape: torch.Size,
    device: torch.device | str,
    dtype: torch.dtype,
    mask: Tensor | None = None,
) -> Tensor:
    if mask is not None:
        masked: Tensor = original_forward(self)(shape, device, dtype, mask)
        return masked
    found = positions(self, (shape[2], shape[3]), torch.device(device)).permute(2, 0, 1)
    return found.to(dtype).expand(shape[0], -1, -1, -1)


def positions(embedding: Any, size: Sequence[Size], device: torch.device) -> Tensor:
    """(H, W, C): what the embedding gives a map of this size, without padding."""
    return sine_positions(
        (size[0], size[1]),
        embedding.num_position_features,
        device,
        temperature=embedding.temperature,
        scale=embedding.scale if embedding.normalize else None,
    )

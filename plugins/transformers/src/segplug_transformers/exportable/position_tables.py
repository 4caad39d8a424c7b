"""Tables of position embeddings that transformers resizes to the number of patches of the input.

It takes the table as it is at the training size, and some classes read the size as a Python number: an export
would freeze both. Where the size is only known later, the table is always resized, which leaves its numbers
as they are where the size is the table's own.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form
from segplug_torch.exportable.sizes import Size
from torch import Tensor

__all__: list[str] = []

_METHOD = "interpolate_pos_encoding"


@method_form("transformers.models.dinov2.modeling_dinov2.Dinov2Embeddings", method=_METHOD)
@method_form("transformers.models.beit.modeling_beit.BeitEmbeddings", method=_METHOD)
def _bicubic(self: Any, embeddings: Tensor, height: Size, width: Size) -> Tensor:
    return _fitting(self, embeddings, (height, width), "bicubic", antialias=False)


@method_form(
    "transformers.models.dinov2_with_registers.modeling_dinov2_with_registers.Dinov2WithRegistersEmbeddings",
    method=_METHOD,
)
def _smoothed_bicubic(self: Any, embeddings: Tensor, height: Size, width: Size) -> Tensor:
    return _fitting(self, embeddings, (height, width), "bicubic", antialias=True)


@method_form("transformers.models.tipsv2.modeling_tipsv2.Tipsv2VisionEmbeddings", method=_METHOD)
def _smoothed_bilinear(self: Any, embeddings: Tensor, height: Size, width: Size) -> Tensor:
    return _fitting(self, embeddings, (height, width), "bilinear", antialias=True)


def _fitting(
    self: Any,
    embeddings: Tensor,
    size: tuple[Size, Size],
    mode: Literal["bicubic", "bilinear"],
    *,
    antialias: bool,
) -> Tensor:
    """(1, 1 + patches, C): the entry of the class token, and one for each patch of an image of ``size``."""
    if all(isinstance(length, int) for length in size):
        original: Tensor = type(self).interpolate_pos_encoding(self, embeddings, *size)
        return original
    table = self.position_embeddings
    edge = math.isqrt(self.patch_embeddings.num_patches)  # the table is of a square
    patches = table[:, 1:].unflatten(1, (edge, edge)).permute(0, 3, 1, 2)
    grid = tuple(
        length // patch for length, patch in zip(size, self.patch_embeddings.patch_size, strict=True)
    )
    patches = F.interpolate(patches, size=grid, mode=mode, align_corners=False, antialias=antialias)
    return torch.cat((table[:, :1], patches.flatten(2).transpose(1, 2)), dim=1)

"""DPT's fusion of two maps, one of which is resized if their sizes differ: an export freezes the answer.

The map from below is twice the half, rounded up, of the map beside it: at some sizes both are equal, at
others not. A resize to the size that a map has changes nothing, so a size that is only known later is
always resized to.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from segplug_torch.exportable.registry import method_form, original_forward
from torch import Tensor

__all__: list[str] = []


@method_form("mmseg.models.decode_heads.dpt_head.FeatureFusionBlock")
def _feature_fusion_block(self: Any, *inputs: Tensor) -> Tensor:
    if len(inputs) == 2:
        x, beside = inputs
        if not all(isinstance(edge, int) for edge in (*x.shape[2:], *beside.shape[2:])):
            beside = F.interpolate(beside, size=x.shape[2:], mode="bilinear", align_corners=False)
        inputs = (x, beside)
    fused: Tensor = original_forward(self)(*inputs)
    return fused

"""An mmseg network in the form of segplug's contract: a function of one tensor.

Nothing here knows a config, a checkpoint or a data container, and nothing imports mmcv: this serves every
generation of the framework.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["TensorSegmentor"]


class TensorSegmentor(nn.Module):
    """A segmentor as a plain function of a tensor.

    float32 ``(N, 3, H, W)``, normalised → float32 logits ``(N, C, H, W)`` at the input's size,
    before softmax or sigmoid. Always one pass over the whole input: the runtime slides the window of a
    ``slide`` model. ``segmentor`` is mmseg's own module, with its parameter names.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.segmentor: Any = segmentor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.segmentor.encode_decode(images, None)
        return logits

"""Small plain modules, and models made of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from segplug.model import ModelMeta, SegmentationModel

__all__ = ["Net", "make_model"]


class Net(nn.Module):
    """Halves the size of its input, and brings logits back to it."""

    def __init__(self, classes: int = 3, width: int = 8, in_channels: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.body(images))
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)


def make_model(network: nn.Module | None = None, **changes: Any) -> SegmentationModel:
    """A model as a source would give it."""
    module = (network or Net()).eval().requires_grad_(False)
    meta = ModelMeta(**{"name": "net", "classes": ("sky", "road", "car"), "out_channels": 3, **changes})
    return SegmentationModel(module, meta, lambda: module)

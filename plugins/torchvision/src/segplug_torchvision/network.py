"""A network of torchvision that gives its scores alone."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Scores"]


class Scores(nn.Module):
    """The entry ``out`` of what a network of torchvision returns.

    float32 images (N, 3, H, W) to float32 logits (N, classes, H, W).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits; the network itself resizes them to the size of its input."""
        scores: torch.Tensor = self.network(images)["out"]
        return scores

"""Networks that give logits for each pixel."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["SemanticScores"]


class SemanticScores(nn.Module):
    """A semantic network of transformers, of whose outputs only the logits are left."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Run the network.

        Args:
            pixel_values: float32 ``(N, C, H, W)``.

        Returns:
            float32 logits ``(N, classes, h, w)``.
        """
        logits: torch.Tensor = self.model(pixel_values, return_dict=True).logits
        return logits

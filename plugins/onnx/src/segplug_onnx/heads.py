"""Modules around a network: their ONNX graphs return logits, or labels computed from the logits.

This module imports torch, so it is imported only when an export runs.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from segplug.model import ModelMeta

__all__ = ["LogitsOnly", "WithLabels"]


class _Head(nn.Module):
    """Holds a network that is in eval mode already, and does not change its flags."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = False


class LogitsOnly(_Head):
    """Float32 ``(N, 3, H, W)`` in, float32 logits ``(N, C, H, W)`` out."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(input)
        return logits


class WithLabels(_Head):
    """Labels int64 ``(N, H, W)``, and the logits that they are computed from.

    Softmax and sigmoid do not change the order of logits, so neither is computed: the label is the channel of
    the largest logit. With one channel, it is 1 where the logit is above the threshold's logit, otherwise 0.
    """

    def __init__(self, network: nn.Module, meta: ModelMeta) -> None:
        super().__init__(network)
        self.bound = _threshold_logit(meta) if meta.out_channels == 1 else None

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.network(input)
        if self.bound is None:
            return logits.argmax(dim=1), logits
        return (logits.squeeze(1) > self.bound).to(torch.int64), logits


def _threshold_logit(meta: ModelMeta) -> float:
    threshold = 0.5 if meta.threshold is None else meta.threshold
    if threshold <= 0.0:
        return -math.inf
    return math.inf if threshold >= 1.0 else math.log(threshold / (1.0 - threshold))

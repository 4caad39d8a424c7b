"""Modules around a network: their ONNX graphs return its scores, or labels computed from them.

This module imports torch, so it is imported only when an export runs.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from segplug.model import ModelMeta

__all__ = ["ScoresOnly", "WithLabels"]


class _Head(nn.Module):
    """Holds a network that is in eval mode already, and does not change its flags."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = False


class ScoresOnly(_Head):
    """The network with the input name of every graph."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.network(input)
        return scores


class WithLabels(_Head):
    """Labels int64 ``(N, H, W)``, and the scores ``(N, C, H, W)`` that they are computed from.

    Scores of another size are resized to the input's first, bilinearly. Softmax and sigmoid do not change
    the order of logits, so neither is computed: the label is the channel of the largest score. With one
    channel, it is 1 where the probability is above the threshold, or the logit above the threshold's logit;
    otherwise 0. Where each channel is decided alone, the label is the bit mask of those that are above it.
    """

    bits: torch.Tensor | None
    """The bit of each channel, int64 ``(1, C, 1, 1)``; ``None``: a pixel has one label."""

    def __init__(self, network: nn.Module, meta: ModelMeta) -> None:
        super().__init__(network)
        self.resize = meta.output_stride > 1 or meta.output_size is not None
        self.align_corners = meta.align_corners
        # Scores at a stride only grow, and then antialiasing changes nothing.
        self.antialias = meta.output_antialias and meta.output_size is not None
        self.bound = _bound(meta) if meta.out_channels == 1 or meta.multilabel else None
        bits = None
        if meta.multilabel:
            parameter = next(network.parameters(), None)
            values = [1 << channel for channel in range(meta.out_channels)]
            bits = torch.tensor(values, device=None if parameter is None else parameter.device)
            bits = bits.reshape(1, -1, 1, 1)
        self.register_buffer("bits", bits, persistent=False)

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.network(input)
        if self.resize:
            scores = F.interpolate(
                scores,
                size=input.shape[2:],
                mode="bilinear",
                align_corners=self.align_corners,
                antialias=self.antialias,
            )
        if self.bound is None:
            return scores.argmax(dim=1), scores
        marks = (scores > self.bound).to(torch.int64)
        labels = marks.squeeze(1) if self.bits is None else (marks * self.bits).sum(dim=1)
        return labels, scores


def _bound(meta: ModelMeta) -> float:
    """The score above which a pixel is foreground."""
    threshold = 0.5 if meta.threshold is None else meta.threshold
    if meta.scores == "probabilities":
        return threshold
    if threshold <= 0.0:
        return -math.inf
    return math.inf if threshold >= 1.0 else math.log(threshold / (1.0 - threshold))

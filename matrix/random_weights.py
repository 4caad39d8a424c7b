"""Random weights for tiny networks, such that several classes are seen: what all zoos share."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def shares(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """The share of each class in labels of any shape."""
    return torch.bincount(labels.flatten(), minlength=classes) / labels.numel()


def fill(model: nn.Module) -> None:
    """Give every parameter and every statistic of a normalisation a random value, none of them 0 or 1."""
    for owner in model.modules():
        for name, value in owner.named_parameters(recurse=False):
            if value.dim() >= 2 and isinstance(owner, nn.Linear | nn.modules.conv._ConvNd):
                fan_in = value[0].numel() if not isinstance(owner, nn.ConvTranspose2d) else value.shape[0]
                value.normal_(0, 1.2 / math.sqrt(fan_in))
            elif isinstance(owner, nn.Embedding):
                value.normal_(0, 5)  # queries that differ
            elif name.startswith(("lambda", "gamma", "layer_scale")):
                value.normal_(0.5, 0.1)
            elif value.dim() == 1 and name == "weight":
                value.normal_(1, 0.2)
            elif value.dim() == 1:
                value.add_(torch.randn_like(value), alpha=0.1)
            else:  # tokens, tables of positions, scales with more than one axis
                value.normal_(0, 0.5)
        for name, value in owner.named_buffers(recurse=False):
            if name == "running_mean":
                value.normal_(0, 0.2)
            elif name == "running_var":
                value.uniform_(0.7, 1.3)
            elif name == "attn_mask_probs":  # of EoMT: one block with a mask, the next without
                value.copy_(torch.arange(len(value)) % 2 == 0)


def scale(layer: Any, logits: torch.Tensor, deviation: float) -> None:
    """Give each row of logits (outputs, samples) mean 0 and the deviation."""
    factor = deviation / logits.std(1)
    layer.weight.mul_(factor.view(-1, *[1] * (layer.weight.dim() - 1)))
    bias = 0 if layer.bias is None else layer.bias
    layer.bias = nn.Parameter((bias - logits.mean(1)) * factor)

"""Check that the scores of an image are the same each time, and whatever images are beside it in a batch."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn

from segplug.errors import ModelError
from segplug_torch.errors import refusals

__all__ = ["require_steady"]

_TOLERANCE = 1e-3
"""Largest difference, as a share of the scores' range."""


def require_steady(network: nn.Module, in_channels: int, size: tuple[int, int]) -> None:
    """Run the network on an image of noise twice, then in two batches beside others.

    Batches of one size are compared with each other: those of two sizes are rounded otherwise, which deep
    networks can magnify.

    A network that was traced in training mode stays in it: no call of ``eval`` reaches its dropout and norms.

    Args:
        network: Takes float32 ``(N, in_channels, *size)`` and returns scores.
        in_channels: Channels of the images.
        size: A (height, width) that it takes.

    Raises:
        ModelError: the scores of an image differ from run to run, or with the rest of the batch.
    """
    tensor = next(chain(network.parameters(), network.buffers()), None)
    noise = torch.randn(3, in_channels, *size, generator=torch.Generator().manual_seed(0))
    noise = noise.to("cpu" if tensor is None else tensor.device)

    def run(*images: int) -> torch.Tensor:
        scores: torch.Tensor = network(noise[list(images)])  # a copy: it may change its input
        return scores

    with torch.inference_mode():
        if _differ(run(0), run(0)):
            raise ModelError(
                "the network gives other scores for the same image each time: it draws random numbers, as "
                "dropout in training mode does, or changes its own buffers",
                hint="save it after net.eval()",
            )
        try:
            first, second = run(0, 1), run(0, 2)
        except refusals():
            return  # it takes one image at a time: whoever gives it two is told
    if _differ(first[:1], second[:1]):
        raise ModelError(
            "the scores of an image change with the other images of the batch, as norms in training mode do",
            hint="save it after net.eval()",
        )


def _differ(expected: torch.Tensor, other: torch.Tensor) -> bool:
    # Equal scores everywhere have no range, and are rounded, too.
    span = max(float(expected.max() - expected.min()), 1e-2 * float(expected.abs().max()))
    return other.shape != expected.shape or float((other - expected).abs().max()) > _TOLERANCE * span

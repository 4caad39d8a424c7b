"""Find at which stride a network gives its scores, by running it on small images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from segplug_torch.errors import REFUSALS, is_out_of_memory, one_line
from torch import nn

from segplug.errors import DeviceError, ModelError
from segplug.strides import common_stride

__all__ = ["Scores", "find_scores"]

Size = tuple[int, int]
"""(height, width)."""
Scores = tuple[int, int]
"""(channels, stride)."""

_SQUARES = (64, 128, 256, 512)
_ENOUGH = 2
"""Sizes that show the stride."""


def find_scores(module: nn.Module, channels: int, size: Size | None, fixed: Size | None) -> Scores:
    """Run a network at the smallest size that it takes, and at one more.

    Args:
        module: float32 ``(N, channels, H, W)`` to float32 scores; in eval mode, and not changed by a run.
        channels: Of the images.
        size: (height, width) that it is meant for; ``None``: not known.
        fixed: (height, width) of the scores, if that is the same for every input.

    Returns:
        Its channels of scores, and their stride: 1 with ``fixed``.

    Raises:
        ModelError: it takes none of the sizes, or its scores are at a stride of none of them.
        DeviceError: the memory is not enough.
    """
    pairs: list[tuple[Size, Size]] = []
    stride: int | None = None
    classes, reason = 0, ""
    for tried in _sizes(size):
        try:
            scores = _run(module, channels, tried)
        except REFUSALS as error:
            reason = one_line(error)
            continue
        found = (int(scores.shape[2]), int(scores.shape[3]))
        common = 1 if fixed is not None else common_stride([*pairs, (tried, found)])
        if common is None:  # a size that is no multiple of a patch loses its rest
            reason = f"for {_by(tried)} it gives scores of {_by(found)}, which are at no stride of it"
            continue
        pairs.append((tried, found))
        classes, stride = int(scores.shape[1]), common
        if len(pairs) == _ENOUGH:
            break
    if stride is None:
        sizes = ", ".join(map(_by, _sizes(size)))
        raise ModelError(f"the network takes none of the sizes {sizes} (height x width): {reason}")
    return classes, stride


def _sizes(size: Size | None) -> Iterator[Size]:
    """Small squares, each with a wider image; last the size itself."""
    for edge in _SQUARES:
        if size is None or edge < min(size):
            yield edge, edge
            if size is None or 2 * edge <= size[1]:
                yield edge, 2 * edge
    if size is not None:
        yield size


def _run(module: nn.Module, channels: int, size: Size) -> torch.Tensor:
    device = next(module.parameters()).device
    try:
        with torch.inference_mode():
            scores: torch.Tensor = module(torch.zeros(1, channels, *size, device=device))
    except (MemoryError, *REFUSALS) as error:
        if is_out_of_memory(error):
            raise DeviceError(f"not enough memory on {device} for a {_by(size)} image") from error
        raise
    return scores


def _by(size: Size) -> str:
    return "x".join(map(str, size))

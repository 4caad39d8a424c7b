"""Find the size of a network's scores, by running it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from segplug_torch.errors import is_out_of_memory, one_line, refusals
from torch import nn

from segplug.errors import DeviceError, ModelError
from segplug.strides import common_stride

__all__ = ["Scores", "find_scores"]

Size = tuple[int, int]
"""(height, width)."""

_EDGES = (64, 128, 256, 512)
_ENOUGH = 2
"""Sizes that show the stride."""


@dataclass(frozen=True)
class Scores:
    """What a network gives."""

    channels: int
    stride: int
    """The input's height and width, divided by this and rounded up, are those of the scores; 1 with
    ``size``."""
    size: Size | None
    """(height, width) of the scores, if it does not follow the input."""


def find_scores(
    module: nn.Module,
    channels: int,
    *,
    size: Size | None,
    fixed: Size | None,
    patches: Collection[int],
) -> Scores:
    """Run a network on small images, or else on one of the size that it is meant for.

    Some networks give scores at no stride of their input: DPT makes 16 rows of each patch of 14. Where all
    images get one size, the scores have one, too.

    Args:
        module: float32 ``(N, channels, H, W)`` to float32 scores; in eval mode, and not changed by a run.
        channels: Of the images.
        size: (height, width) of all images; ``None``: they differ.
        fixed: (height, width) of the scores, if that is the same for every input.
        patches: The edges of the network's patches. Small images show nothing of images of ``size`` unless
            both are whole numbers of patches.

    Raises:
        ModelError: it takes none of the sizes, or its scores are at no stride of images of several sizes.
        DeviceError: the memory is not enough.
    """
    pairs: list[tuple[Size, Size]] = []
    result, reason = None, ""
    sizes = _sizes(size, patches)
    for tried in sizes:
        try:
            scores = _run(module, channels, tried)
        except refusals() as error:
            reason = one_line(error)
            continue
        found = (int(scores.shape[2]), int(scores.shape[3]))
        stride = common_stride([*pairs, (tried, found)]) if fixed is None else 1
        if stride is None and tried == size:
            return Scores(scores.shape[1], 1, found)
        if stride is None:
            reason = f"for {_by(tried)} it gives scores of {_by(found)}, which are at no stride of it"
            continue
        pairs.append((tried, found))
        result = Scores(scores.shape[1], stride, fixed)
        if len(pairs) == _ENOUGH:
            break
    if result is None:
        of_processor = "" if size is None else ", the size that its processor gives"
        raise ModelError(
            f"the network takes no images of {' or '.join(map(_by, sizes))} (height x width){of_processor}: "
            f"{reason}"
        )
    return result


def _sizes(size: Size | None, patches: Collection[int]) -> list[Size]:
    """What to try: small images, each a square and a wider one, and last the size of all images."""
    small = [(edge, width) for edge in _EDGES for width in (edge, 2 * edge)]
    if size is None:
        return small
    if any(edge % patch for edge in (*_EDGES, *size) for patch in patches):
        return [size]
    return [*(one for one in small if one[0] <= size[0] and one[1] <= size[1] and one != size), size]


def _run(module: nn.Module, channels: int, size: Size) -> torch.Tensor:
    device = next(module.parameters()).device
    try:
        with torch.inference_mode():
            scores: torch.Tensor = module(torch.zeros(1, channels, *size, device=device))
    except refusals() as error:
        if is_out_of_memory(error):
            raise DeviceError(f"not enough memory on {device} for a {_by(size)} image") from error
        raise
    return scores


def _by(size: Size) -> str:
    return "x".join(map(str, size))

"""Find the size of a network's scores, by running it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segplug_torch.errors import REFUSALS, is_out_of_memory, one_line
from torch import nn

from segplug.errors import DeviceError, ModelError
from segplug.strides import common_stride

__all__ = ["Scores", "find_scores"]

Size = tuple[int, int]
"""(height, width)."""

_SQUARES = (64, 128, 256, 512)
_SMALL = [size for edge in _SQUARES for size in ((edge, edge), (edge, 2 * edge))]
_ENOUGH = 2
"""Small sizes that show the stride."""


@dataclass(frozen=True)
class Scores:
    """What a network gives."""

    channels: int
    stride: int
    """The input's height and width, divided by this and rounded up, are those of the scores; 1 with
    ``size``."""
    size: Size | None
    """(height, width) of the scores, if it does not follow the input."""


def find_scores(module: nn.Module, channels: int, size: Size | None, fixed: Size | None) -> Scores:
    """Run a network on an image of the size that it is meant for, or else on small ones.

    Some networks give scores at no stride of their input: DPT makes 16 rows of each patch of 14. Where all
    images get one size, the scores have one, too.

    Args:
        module: float32 ``(N, channels, H, W)`` to float32 scores; in eval mode, and not changed by a run.
        channels: Of the images.
        size: (height, width) of all images; ``None``: they differ.
        fixed: (height, width) of the scores, if that is the same for every input.

    Raises:
        ModelError: it takes none of the sizes, or its scores are at no stride of images of several sizes.
        DeviceError: the memory is not enough.
    """
    if size is not None:
        try:
            scores = _run(module, channels, size)
        except REFUSALS as error:
            raise ModelError(
                f"the network takes no images of {_by(size)} (height x width), which its processor gives: "
                f"{one_line(error)}"
            ) from error
        found = _edges(scores)
        stride = None if fixed is not None else common_stride([(size, found)])
        return Scores(scores.shape[1], stride or 1, found if stride is None else None)
    pairs: list[tuple[Size, Size]] = []
    result, reason = None, ""
    for tried in _SMALL:
        try:
            scores = _run(module, channels, tried)
        except REFUSALS as error:
            reason = one_line(error)
            continue
        found = _edges(scores)
        stride = common_stride([*pairs, (tried, found)]) if fixed is None else 1
        if stride is None:  # a size that is no multiple of a patch loses its rest
            reason = f"for {_by(tried)} it gives scores of {_by(found)}, which are at no stride of it"
            continue
        pairs.append((tried, found))
        result = Scores(scores.shape[1], stride, fixed)
        if len(pairs) == _ENOUGH:
            break
    if result is None:
        sizes = ", ".join(map(_by, _SMALL))
        raise ModelError(f"the network takes none of the sizes {sizes} (height x width): {reason}")
    return result


def _edges(scores: torch.Tensor) -> Size:
    return int(scores.shape[2]), int(scores.shape[3])


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

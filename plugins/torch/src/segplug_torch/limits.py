"""Find the input sizes that a network takes, by running it on small images.

A pooling kernel, a chain of strides or a table of positions may need a smallest size, multiples of a number,
or one size only. No config says so; and a file with free sizes would fail, or give wrong results, at sizes
that the network itself refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from segplug.model import InputLimits, ModelMeta
from segplug_torch.errors import is_out_of_memory, refusals

__all__ = ["find_input_limits"]

_SQUARES = (64, 128, 256, 512, 1024)
"""Square sizes that are tried first: nearly every network takes the smallest, which costs little time."""

_DIVISORS = (1, 2, 4, 8, 16, 32, 64)


def find_input_limits(module: nn.Module, meta: ModelMeta) -> InputLimits | None:
    """Try sizes on ``module`` until its limits are known.

    Args:
        module: As :class:`~segplug.model.SegmentationModel` says; in eval mode, and not changed by a run.
            Where its scores have another size than ``meta`` says, the size is not taken.
        meta: Its metadata. ``input_size`` is tried where the network takes no small square.

    Returns:
        The limits; ``None`` if not even the nominal size is taken.
    """
    takes, nominal = _trial(module, meta), meta.input_size
    small = [edge for edge in _SQUARES if nominal is None or edge <= max(nominal)]
    start = next((edge for edge in small if takes(edge, edge)), None)
    if start is not None:
        divisor = next((d for d in _DIVISORS if _takes_steps(takes, start, d)), None)
        if divisor is not None:
            smallest = _smallest(takes, start, divisor)
            return InputLimits(minimum=(smallest, smallest), multiple_of=divisor)
    for size in (nominal, (start, start) if start else None):
        if size is not None and takes(*size):
            return InputLimits(minimum=size, maximum=size)
    return None


def _trial(module: nn.Module, meta: ModelMeta) -> Callable[[int, int], bool]:
    """A function that runs ``module`` at a (height, width) once, and says whether it takes that size."""
    parameter = next(module.parameters(), None)
    device = "cpu" if parameter is None else parameter.device

    @cache
    def takes(height: int, width: int) -> bool:
        try:
            with torch.inference_mode():
                scores = module(torch.zeros(1, meta.in_channels, height, width, device=device))
        except refusals() as error:
            if is_out_of_memory(error):
                raise
            return False
        return tuple(scores.shape[2:]) == meta.scores_size((height, width))

    return takes


def _takes_steps(takes: Callable[[int, int], bool], start: int, step: int) -> bool:
    """Whether larger multiples of ``step`` are taken: odd ones, unequal ones, and much larger ones.

    A table of positions takes every size that rounds to its own, so the next few sizes alone prove little.
    """
    steps = [(1, 1), (3, 1), (4, 6), (start // step, 0)]
    return all(takes(start + down * step, start + right * step) for down, right in steps)


def _smallest(takes: Callable[[int, int], bool], start: int, step: int) -> int:
    """The smallest multiple of ``step`` that is taken for either axis, given that ``start`` is taken."""
    low, high = 0, start // step
    while high - low > 1:
        middle = (low + high) // 2
        edge = middle * step
        # A map that is 1 high may be refused when it is wider, though 1 x 1 is taken.
        if all(takes(*size) for size in ((edge, edge), (edge, 2 * edge), (2 * edge, edge))):
            high = middle
        else:
            low = middle
    return high * step

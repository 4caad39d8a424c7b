"""Which input sizes a network takes, asked of the network itself by running it on small images.

A pooling kernel, a chain of strides or a table of positions may ask for a smallest size, for multiples, or
for one size only. No config says so, and a file with free sizes would fail, or answer wrongly, where the
network itself refuses. Nothing here knows the framework.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from segplug.model import InputLimits

__all__ = ["find_input_limits"]

_ENOUGH = (64, 128, 256, 512, 1024)
"""Square sizes to begin with: nearly every network takes the first, and an image so small costs little."""

_DIVISORS = (1, 2, 4, 8, 16, 32, 64)

_REFUSALS = (RuntimeError, ValueError, AssertionError, IndexError, TypeError, ArithmeticError)


def find_input_limits(module: nn.Module, nominal: tuple[int, int] | None) -> InputLimits | None:
    """Try sizes on ``module`` until its limits are known.

    Args:
        module: float32 ``(N, 3, H, W)`` to anything; in eval mode, unchanged by a run.
        nominal: A (height, width) that it should take, for networks that take no small square.

    Returns:
        The limits; ``None`` if not even the nominal size is taken.
    """
    takes = _asking(module)
    small = [edge for edge in _ENOUGH if nominal is None or edge <= max(nominal)]
    start = next((edge for edge in small if takes(edge, edge)), None)
    if start is not None:
        divisor = next((d for d in _DIVISORS if _in_steps(takes, start, d)), None)
        if divisor is not None:
            smallest = _smallest(takes, start, divisor)
            return InputLimits(minimum=(smallest, smallest), multiple_of=divisor)
    for size in (nominal, (start, start) if start else None):
        if size is not None and takes(*size):
            return InputLimits(minimum=size, maximum=size)
    return None


def _asking(module: nn.Module) -> Callable[[int, int], bool]:
    parameter = next(module.parameters(), None)
    device = "cpu" if parameter is None else parameter.device

    @cache
    def takes(height: int, width: int) -> bool:
        try:
            with torch.inference_mode():
                module(torch.zeros(1, 3, height, width, device=device))
        except torch.OutOfMemoryError:
            raise
        except _REFUSALS as error:
            if "can't allocate memory" in str(error):  # what the CPU says, in a plain RuntimeError
                raise
            return False
        return True

    return takes


def _in_steps(takes: Callable[[int, int], bool], start: int, step: int) -> bool:
    """Whether larger multiples of ``step`` are taken: odd ones, with axes that differ, by far as well.

    A table of positions takes what rounds to its own size, so the next few sizes alone say little.
    """
    steps = [(1, 1), (3, 1), (4, 6), (start // step, 0)]
    return all(takes(start + down * step, start + right * step) for down, right in steps)


def _smallest(takes: Callable[[int, int], bool], start: int, step: int) -> int:
    """The smallest multiple of ``step`` that is taken beside any other, given that ``start`` is."""
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

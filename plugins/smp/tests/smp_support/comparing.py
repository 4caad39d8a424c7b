"""How far two answers are apart, and programs whose batch, height and width are free."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["distance", "followed"]


def distance(expected: Tensor, actual: Tensor) -> float:
    """The largest difference of two answers of one shape, relative to the range of the first."""
    assert expected.shape == actual.shape
    difference = (expected - actual).detach().abs().max()
    return float(difference / (expected.max() - expected.min()).detach())


def followed(module: nn.Module, sample: tuple[int, ...], multiple_of: int = 1) -> Callable[[Tensor], Tensor]:
    """The program of ``torch.export`` with free batch, height and width, which are multiples of a number."""
    free = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    if multiple_of > 1:
        free |= {2: multiple_of * torch.export.Dim("height"), 3: multiple_of * torch.export.Dim("width")}
    program: Callable[[Tensor], Tensor] = torch.export.export(
        module, (torch.zeros(sample),), dynamic_shapes=(free,)
    ).module()
    return program

"""Sigmoids of networks whose outputs are probabilities, with their small values.

ONNX Runtime's Sigmoid on the CPU gives 0 for all that is below -18, and twice too much at -17. Where a
sigmoid leads to a gate or to a loss, nobody sees it. Where the masks of queries are multiplied with their
classes, a pixel that every query leaves out gets equal scores, all 0, and with them another label than in
PyTorch. Here a sigmoid is what its formula says, which is also what PyTorch computes: 0 only where exp(-x) is
infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["SIGMOIDS", "sigmoid"]


def sigmoid(values: Tensor) -> Tensor:
    """``torch.sigmoid`` of floats of any shape, by operators that keep small values in every runtime."""
    result: Tensor = 1 / (1 + torch.exp(-values))
    return result


def _in_place(values: Tensor) -> Tensor:
    return values.copy_(sigmoid(values))


SIGMOIDS: Mapping[Any, Callable[[Tensor], Tensor]] = {
    torch.sigmoid: sigmoid,
    torch.special.expit: sigmoid,
    Tensor.sigmoid: sigmoid,
    torch.sigmoid_: _in_place,
    Tensor.sigmoid_: _in_place,
}
"""Every function of torch that computes it, to its form."""

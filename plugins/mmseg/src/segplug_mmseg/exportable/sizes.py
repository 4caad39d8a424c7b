"""Sizes that an exporter need not think about.

torch.export knows each size as a formula of the input's, and proves that formulas are equal wherever shapes
meet. Formulas with several roundings down, multiplied with each other, take it minutes each.
"""

from __future__ import annotations

import torch

from .padding import Size

__all__ = ["as_symbol"]


def as_symbol(length: Size) -> Size:
    """``length`` under a name of its own, which an exporter takes as it is; it must be above 1.

    What has a size of this kind is comparable only with what has the same one: give all that belongs
    together its size from one call. Do not divide differences of it: (4 * symbol - n) // 2 is rewritten as
    2 * symbol + (-n) // 2, and the exporter divides whole numbers towards zero.
    """
    if isinstance(length, int):
        return length
    symbol: Size = torch.full((), length, dtype=torch.int64).item()
    torch._check(symbol > 1)  # else it has to ask whether what has this size is broadcast
    return symbol

"""Sizes that follow the input: padding up to whole blocks, and sizes that exporters take without a proof.

A framework asks "is any padding needed?" of the size that it sees, and an export would freeze the answer.
Here the padding is a number that follows the size, and is 0 where nothing is needed.
"""

from __future__ import annotations

import torch

__all__ = ["Size", "as_symbol", "blocks", "needed_padding"]

Size = int
"""A length in pixels or cells: a number, or in an export a ``torch.SymInt``, which acts as one."""


def blocks(length: Size, size: int) -> Size:
    """How many blocks of ``size`` cover ``length``."""
    return (length + size - 1) // size


def needed_padding(length: Size, kernel: int, stride: int, dilation: int = 1) -> Size:
    """What to add to ``length`` so that a kernel at every ``stride`` covers all of it."""
    reach = (kernel - 1) * dilation + 1
    # Once this is added to the length, blocks * stride is left, which the exporter sees to be divisible;
    # the equal (-length) % stride would tell it nothing.
    padding = blocks(length, stride) * stride - length + (reach - stride)
    return padding if reach >= stride else torch.sym_max(padding, 0)  # type: ignore[no-untyped-call]


def as_symbol(length: Size) -> Size:
    """``length`` as a symbol of its own, which an exporter takes as it is; it must be above 1.

    torch.export knows each size as a formula of the input's, and proves that formulas are equal wherever
    shapes meet. Formulas with several roundings down, multiplied with each other, take it minutes each.

    A size of this kind can be compared only with itself: give all that belongs together its size from one
    call. Do not divide differences of it: (4 * symbol - n) // 2 is rewritten as 2 * symbol + (-n) // 2, and
    the exporter divides whole numbers towards zero.
    """
    if isinstance(length, int):
        return length
    symbol: Size = torch.full((), length, dtype=torch.int64).item()
    torch._check(symbol > 1)  # else it has to ask whether what has this size is broadcast
    return symbol

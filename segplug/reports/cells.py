"""How one value of a table is spelled for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["cell_text", "is_numeric_column"]

_SMALL = 0.00005
"""Fractions below would show no digit with four decimals: they have three digits, whatever their size."""


def cell_text(value: Any) -> str:
    """A value as a table shows it: numbers rounded and grouped, what is not there as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        if 0 < abs(value) < _SMALL:
            return f"{value:.3g}"
        # Four digits that count: 0.8565, 3.010, 48.98; from there on two decimals.
        decimals = 4 if abs(value) < 1 else 3 if abs(value) < 10 else 2
        return f"{value:,.{decimals}f}"
    return str(value)


def is_numeric_column(rows: Sequence[Sequence[Any]], position: int) -> bool:
    """Whether a column holds numbers, and perhaps gaps: such a column is right-aligned."""
    values = [row[position] for row in rows if row[position] is not None]
    return bool(values) and all(isinstance(value, (int, float)) for value in values)

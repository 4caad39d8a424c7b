"""How one value of a table is spelled for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["cell_text", "is_numeric_column"]

_MANY = 10_000
"""Whole numbers from here on are grouped by thousands: below are years, sizes and steps of a loop."""

_LARGE = 100.0
"""Fractions from here on have two decimals, those below four."""

_SMALL = 0.001
"""Fractions below, such as learning rates, have three digits, whatever their size."""


def cell_text(value: Any) -> str:
    """A value as a table shows it: numbers rounded and grouped, what is not there as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= _MANY else str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        if 0 < abs(value) < _SMALL:
            return f"{value:.3g}"
        return f"{value:,.2f}" if abs(value) >= _LARGE else f"{value:.4f}"
    return str(value)


def is_numeric_column(rows: Sequence[Sequence[Any]], position: int) -> bool:
    """Whether a column holds numbers, and perhaps gaps: such a column is right-aligned."""
    values = [row[position] for row in rows if row[position] is not None]
    return bool(values) and all(isinstance(value, (int, float)) for value in values)

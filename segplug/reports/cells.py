"""Format the values of a table for people, and for CSV files."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from segplug.text import printable

__all__ = ["cell_text", "csv_cell", "is_numeric_column"]

_FORMULA = re.compile(r"[\s'\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
"""How a text begins that a spreadsheet runs as a formula, also with full-width signs (CSV injection)."""

_SMALL = 0.00005
"""Smaller fractions would be 0.0000 with four decimals: they are shown with three significant digits."""


def cell_text(value: Any) -> str:
    """The text of a value: numbers rounded, with thousands separators; a missing value as a dash."""
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
        # Four significant digits: 0.8565, 3.010, 48.98; larger numbers have two decimals.
        decimals = 4 if abs(value) < 1 else 3 if abs(value) < 10 else 2
        return f"{value:,.{decimals}f}"
    return str(value)


def csv_cell(value: Any) -> Any:
    """The value as a cell of a CSV file: a number stays one, and no text is run as a formula.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    if not isinstance(value, str):
        return value
    is_formula = _FORMULA.match(value) is not None and not _is_number(value)
    return ("'" if is_formula else "") + printable(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isprintable()


def is_numeric_column(rows: Sequence[Sequence[Any]], position: int) -> bool:
    """Whether a column has only numbers, apart from missing values. Such a column is right-aligned."""
    values = [row[position] for row in rows if row[position] is not None]
    return bool(values) and all(isinstance(value, (int, float)) for value in values)

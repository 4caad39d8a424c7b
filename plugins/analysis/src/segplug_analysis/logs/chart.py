"""A line chart as text: one letter for each curve."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Sequence

from segplug_analysis.logs.curve import is_drawable
from segplug_analysis.logs.series import Series, Unit

__all__ = ["text_chart"]

_WIDTH, _HEIGHT = 72, 14
_MARKS = string.ascii_lowercase + string.ascii_uppercase + string.digits
_OVERLAP = "*"


def text_chart(title: str, series: Sequence[Series], unit: Unit, *, log_y: bool = False) -> str:
    """All curves in one chart, with axes and a legend. Each column shows the mean of its points."""
    drawn = [(mark, one, _points(one, log_y)) for mark, one in zip(_MARKS, series, strict=False)]
    points = [point for _, _, found in drawn for point in found]
    if not points:
        return f"{title}: nothing to draw"
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    cells: dict[tuple[int, int], str] = {}
    for mark, _, found in drawn:
        columns = [(_step(x, left, right, _WIDTH), y) for x, y in found]
        for column, y in _filled(columns):
            cell = (_HEIGHT - 1 - _step(y, low, high, _HEIGHT), column)
            cells[cell] = mark if cells.get(cell, mark) == mark else _OVERLAP
    top, bottom = (10**high, 10**low) if log_y else (high, low)
    labels = {0: f"{top:.4g}", _HEIGHT - 1: f"{bottom:.4g}"}
    margin = max(map(len, labels.values()))
    lines = [title + (", log scale" if log_y else "")]
    for row in range(_HEIGHT):
        text = "".join(cells.get((row, column), " ") for column in range(_WIDTH))
        lines.append(f"{labels.get(row, ''):>{margin}} |{text.rstrip()}")
    lines.append(" " * margin + " +" + "-" * _WIDTH)
    ends = f"{left:.6g}", f"{right:.6g}"
    lines.append(" " * (margin + 2) + ends[0] + unit.center(_WIDTH - len("".join(ends))) + ends[1])
    overlaps = [f"  {_OVERLAP} several"] if _OVERLAP in cells.values() else []
    more = len(series) - len(drawn)
    missing = [f"  not drawn here: {more} more curves"] if more else []
    return "\n".join([*lines, *(f"  {mark} {one.label}" for mark, one, _ in drawn), *overlaps, *missing])


def _points(one: Series, log_y: bool) -> list[tuple[float, float]]:
    finite = [
        (x, y) for x, y in zip(one.x, one.values, strict=True) if is_drawable(y) and (y > 0 or not log_y)
    ]
    return [(x, math.log10(y)) for x, y in finite] if log_y else finite


def _step(value: float, low: float, high: float, steps: int) -> int:
    return round((value - low) / (high - low) * (steps - 1)) if high > low else 0


def _filled(columns: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """One value for each column: the mean of its points, and a straight line where there are none."""
    groups: dict[int, list[float]] = {}
    for column, y in columns:
        groups.setdefault(column, []).append(y)
    known = sorted((column, sum(values) / len(values)) for column, values in groups.items())
    filled = known[:1]
    for (start, before), (end, after) in itertools.pairwise(known):
        span = end - start
        filled += [(start + step, before + (after - before) * step / span) for step in range(1, span + 1)]
    return filled

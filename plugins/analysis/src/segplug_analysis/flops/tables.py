"""The tables of a count. Work is in G (10^9), or in M (10^6) for a small network; parameters are in M."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from segplug.results import Table
from segplug_analysis.flops.tally import Complexity, ModuleCost, OperatorCost

__all__ = ["SMALL", "per_module", "per_operator", "shown_modules", "totals"]

SMALL = 0.001
"""Modules with less than this share of the FLOPs and of the parameters are left out of the table."""

_MILLION, _BILLION = 1_000_000, 1_000_000_000


def totals(complexity: Complexity) -> Table:
    """The totals, one row."""
    unit, scale = _unit(complexity)
    height, width = complexity.shape
    columns = ["input (CxHxW)", f"MACs ({unit})", f"FLOPs ({unit})", "parameters (M)"]
    row: list[Any] = [
        f"{complexity.channels}x{height}x{width}",
        _scaled(complexity.total.macs, scale),
        _scaled(complexity.total.flops, scale),
        _scaled(complexity.whole.parameters, _MILLION),
    ]
    if complexity.whole.used is not None:
        columns.append("used in inference (M)")
        row.append(_scaled(complexity.whole.used, _MILLION))
    return Table("total", tuple(columns), (tuple(row),))


def shown_modules(
    modules: list[ModuleCost], complexity: Complexity, depth: int
) -> tuple[list[ModuleCost], int]:
    """The modules down to ``depth`` for the table, and how many are left out because they are small."""
    within = [cost for cost in modules if cost.part.depth <= depth]
    shown = [cost for cost in within if _largest_share(cost, complexity) >= SMALL]
    return shown, len(within) - len(shown)


def _largest_share(cost: ModuleCost, complexity: Complexity) -> float:
    return max(
        cost.total.flops / (complexity.total.flops or 1),
        cost.part.parameters / (complexity.whole.parameters or 1),
    )


def per_module(costs: list[ModuleCost], complexity: Complexity) -> Table:
    """A row for each module, each below its parent."""
    unit, scale = _unit(complexity)
    total = complexity.total
    columns = (
        "module",
        "class",
        f"MACs ({unit})",
        "MACs (%)",
        f"FLOPs ({unit})",
        "FLOPs (%)",
        "parameters (M)",
    )
    rows = tuple(
        (
            cost.part.path or "(all)",
            cost.part.kind,
            _scaled(cost.total.macs, scale),
            _percent(cost.total.macs, total.macs),
            _scaled(cost.total.flops, scale),
            _percent(cost.total.flops, total.flops),
            _scaled(cost.part.parameters, _MILLION),
        )
        for cost in costs
    )
    return Table("per module, largest first", columns, rows)


def per_operator(operators: list[OperatorCost], complexity: Complexity) -> Table:
    """Each operator with its calls and its rule; operators that are not counted come first."""
    unit, scale = _unit(complexity)
    columns = ("operator", "calls", f"MACs ({unit})", f"FLOPs ({unit})", "how it is counted")
    return Table("operators", columns, tuple(_operator_rows(operators, scale)))


def _operator_rows(operators: list[OperatorCost], scale: int) -> Iterator[tuple[Any, ...]]:
    """A row for each operator; at the end, operators without work share one row per rule."""
    free: dict[str, list[OperatorCost]] = defaultdict(list)
    for cost in operators:
        if cost.how is None:
            yield cost.operator, cost.calls, None, None, "NOT COUNTED: no rule"
    for cost in operators:
        if cost.how is not None and cost.count.flops:
            work = _scaled(cost.count.macs, scale), _scaled(cost.count.flops, scale)
            yield cost.operator, cost.calls, *work, cost.how
        elif cost.how is not None:
            free[cost.how].append(cost)
    for how, costs in free.items():
        yield ", ".join(cost.operator for cost in costs), sum(cost.calls for cost in costs), 0, 0, how


def _unit(complexity: Complexity) -> tuple[str, int]:
    return ("G", _BILLION) if complexity.total.macs >= _BILLION else ("M", _MILLION)


def _scaled(value: int, scale: int) -> float | int:
    """The value in a larger unit; an exact 0 stays an integer, so that it is shown as 0."""
    return value / scale if value else 0


def _percent(part: int, whole: int) -> float | int:
    return round(100 * part / whole, 2) if part else 0

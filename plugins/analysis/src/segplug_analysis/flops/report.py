"""The report of a count: rounded numbers in tables, whole numbers as data, and notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from segplug.results import AnalyzeReport
from segplug.text import counted
from segplug_analysis.flops.tables import SMALL, per_module, per_operator, shown_modules, totals
from segplug_analysis.flops.tally import Complexity, ModuleCost, OperatorCost

__all__ = ["as_report"]

_MEANING = "1 MAC is one product and one sum: 2 FLOPs. Papers often call MACs 'GFLOPs'."


def as_report(name: str, complexity: Complexity, *, depth: int) -> AnalyzeReport:
    """The report on one network.

    Args:
        name: Name of the network, for people.
        complexity: The counted work.
        depth: Deepest level of modules in the table; 0 is the network itself.
    """
    height, width = complexity.shape
    modules, operators = complexity.modules(), complexity.operators()
    shown, left_out = shown_modules(modules, complexity, depth)
    return AnalyzeReport(
        title=f"MACs, FLOPs and parameters of {name} at {height}x{width}",
        data=_data(name, complexity, modules, operators),
        tables=(totals(complexity), per_module(shown, complexity), per_operator(operators, complexity)),
        notes=(
            _MEANING,
            _one_pass(complexity),
            *complexity.notes,
            *_left_out(left_out),
            *_not_counted(operators),
        ),
    )


def _one_pass(complexity: Complexity) -> str:
    images = "one image" if complexity.batch == 1 else f"{complexity.batch} images, the file's fixed batch"
    return f"The numbers are for one pass of the network over {images}."


def _left_out(count: int) -> Iterator[str]:
    if count:
        yield (
            f"{counted(count, 'module')} with less than {SMALL:.1%} of the FLOPs and of the parameters: "
            "not in the table; --json has all."
        )


def _not_counted(operators: list[OperatorCost]) -> Iterator[str]:
    names = ", ".join(
        f"{cost.operator} ({counted(cost.calls, 'call')})" for cost in operators if cost.how is None
    )
    if names:
        yield f"NOT counted, because there is no rule for them: {names}. The totals are too low."


def _data(
    name: str, complexity: Complexity, modules: list[ModuleCost], operators: list[OperatorCost]
) -> dict[str, Any]:
    height, width = complexity.shape
    return {
        "name": name,
        "input": {
            "batch": complexity.batch,
            "channels": complexity.channels,
            "height_pixels": height,
            "width_pixels": width,
        },
        "macs": complexity.total.macs,
        "flops": complexity.total.flops,
        "parameters": complexity.whole.parameters,
        "parameters_used": complexity.whole.used,
        "modules": [_module(cost) for cost in modules],
        "operators": [_operator(cost) for cost in operators],
        "not_counted": [cost.operator for cost in operators if cost.how is None],
    }


def _module(cost: ModuleCost) -> dict[str, Any]:
    return {
        "path": cost.part.path,
        "class": cost.part.kind,
        "macs": cost.total.macs,
        "flops": cost.total.flops,
        "own_macs": cost.own.macs,
        "own_flops": cost.own.flops,
        "parameters": cost.part.parameters,
        "parameters_used": cost.part.used,
    }


def _operator(cost: OperatorCost) -> dict[str, Any]:
    return {
        "operator": cost.operator,
        "calls": cost.calls,
        "macs": cost.count.macs,
        "flops": cost.count.flops,
        "counted": cost.how is not None,
        "how": cost.how,
    }

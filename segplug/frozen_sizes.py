"""Refuse an exported program that is right at the traced size only, although its sizes are free.

Code that computes a size with a float, such as ``int(0.7 * x.shape[2])``, does not stay a formula:
torch.export makes it the number of the traced size, and notes as a condition that the formula gives this
number. Exporters drop the condition. Where the formula does stay, files compute it in float32 and Python in
float64, so that it may be one off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["refuse_frozen_sizes"]

_EDGES = 1 << 14
"""Largest size in pixels for which factors are tried."""
_ROUNDING = frozenset({"FloatPow", "FloatTrueDiv", "RoundDecimal", "RoundToInt", "OpaqueUnaryFn_sqrt"})
"""Functions of torch's formulas that float32 may round otherwise than float64."""
_FLOATS = _ROUNDING | {"IntTrueDiv", "ToFloat", "TruncToFloat", "TruncToInt", "FloorToInt", "CeilToInt"}


def refuse_frozen_sizes(program: ExportedProgram) -> None:
    """Check how a program computes sizes from free ones.

    Args:
        program: As ``torch.export.export`` made it, or an exporter that calls it.

    Raises:
        ModelError: a number stands for a formula, or a formula depends on how floats are rounded.
    """
    import torch

    symbols = [size for size in _sizes(program) if isinstance(size, torch.SymInt)]
    if not symbols:
        return
    environment: Any = symbols[0].node.shape_env
    deferred = environment.deferred_runtime_asserts.values()
    conditions = [noted.expr for noted in (*environment.guards, *(one for many in deferred for one in many))]
    if any(map(_is_frozen, conditions)):
        raise _refusal("as the number that the traced size gives")
    for size in symbols:
        if _is_rounded(size.node.expr):
            raise _refusal("with rounded numbers")


def _sizes(program: ExportedProgram) -> Iterator[Any]:
    """The sizes of all tensors, and all numbers that are computed from them."""
    import torch

    for node in program.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor):
            yield from value.shape
        else:
            yield value


def _is_frozen(condition: Any) -> bool:
    """Whether a formula of floats is said to be one number."""
    import sympy

    if not isinstance(condition, sympy.Eq):
        return False
    formula, number = sorted(condition.args, key=lambda side: side.is_number)
    return bool(number.is_number and formula.free_symbols) and not _FLOATS.isdisjoint(_functions(formula))


def _is_rounded(formula: Any) -> bool:
    import sympy

    if not isinstance(formula, sympy.Basic) or _FLOATS.isdisjoint(names := _functions(formula)):
        return False
    return any(map(_is_inexact, formula.atoms(sympy.Float))) or not _ROUNDING.isdisjoint(names)


def _is_inexact(factor: Any) -> bool:
    """Whether float32 gives another whole number for some size: 0.7 does for 90, 0.75 and 1/3 for none."""
    import numpy as np

    edges = np.arange(1, _EDGES + 1)
    exact, rounded = (kind(float(factor)) * edges.astype(kind) for kind in (np.float64, np.float32))
    return any(not np.array_equal(rule(exact), rule(rounded)) for rule in (np.floor, np.ceil))


def _functions(formula: Any) -> set[str]:
    import sympy

    return {type(part).__name__ for part in formula.atoms(sympy.Function)}


def _refusal(how: str) -> ModelError:
    return ModelError(
        "the network computes a size from that of the image with a float, as int(0.7 * x.shape[2]) does: a "
        f"file would hold it {how}, and be wrong for other images",
        hint="use whole numbers (7 * x.shape[2] // 10), or export without --dynamic, for one --shape",
    )

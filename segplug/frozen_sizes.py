"""Refuse an exported program that is right at the traced size only, although its sizes are free.

Code that computes a size with a float, such as ``int(0.7 * x.shape[2])``, does not stay a formula:
torch.export makes it the number of the traced size, and notes as a condition that the formula gives this
number. Exporters drop the condition. Where the formula does stay, files compute it in float32 and Python in
float64, so that it may be one off.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from segplug.errors import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch.export import ExportedProgram

__all__ = ["refuse_frozen_sizes"]

_EDGES = 1 << 14
"""Largest size in pixels for which a formula is computed in both precisions."""
_WHOLE = {"TruncToInt": "trunc", "FloorToInt": "floor", "CeilToInt": "ceil", "RoundToInt": "rint"}
"""Functions of torch's formulas that make a float a whole number, and what NumPy calls them."""
_DIVISIONS = ("IntTrueDiv", "FloatTrueDiv")
_FLOATS = frozenset(
    (*_WHOLE, *_DIVISIONS, "ToFloat", "TruncToFloat", "FloatPow", "RoundDecimal", "OpaqueUnaryFn_sqrt")
)


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
    if any(map(_is_rounded, {size.node.expr for size in symbols})):
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
    """Whether float32 gives another whole number for some size: ``floor(0.7 * size)`` does for 90, and
    ``floor(0.75 * size)`` for none.
    """
    import numpy as np
    import sympy

    if not isinstance(formula, sympy.Basic) or _FLOATS.isdisjoint(_functions(formula)):
        return False
    edges = np.arange(1, _EDGES + 1)
    symbols = sorted(formula.free_symbols, key=str)
    values = {symbol: np.roll(edges, 7 * number) for number, symbol in enumerate(symbols)}
    try:
        with np.errstate(all="ignore"):  # a size of 1 may make a divisor 0
            exact, rounded = (_computed(formula, values, kind) for kind in (np.float64, np.float32))
    except NotImplementedError:
        return True
    return not np.array_equal(exact, rounded)


def _computed(formula: Any, values: Mapping[Any, npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    """A formula of sizes, with floats of one precision.

    Raises:
        NotImplementedError: it has a function whose rounding is not known.
    """
    import numpy as np

    if formula.is_Symbol:
        return values[formula]
    if formula.is_number:
        return np.asarray(int(formula) if formula.is_Integer else kind(float(formula)))
    parts = [_computed(part, values, kind) for part in formula.args]
    if any(part.dtype.kind == "f" for part in parts):
        parts = [part.astype(kind) for part in parts]
    name = type(formula).__name__
    found: npt.NDArray[Any]
    if name in ("Add", "Mul", "Max", "Min"):
        operation = {"Add": np.add, "Mul": np.multiply, "Max": np.maximum, "Min": np.minimum}[name]
        found = functools.reduce(operation, parts)
    elif name == "ToFloat":
        found = parts[0].astype(kind)
    elif name in _WHOLE:
        found = getattr(np, _WHOLE[name])(parts[0]).astype(np.int64)
    elif name in _DIVISIONS:
        found = parts[0].astype(kind) / parts[1].astype(kind)
    elif name == "FloorDiv":
        found = parts[0] // parts[1]
    elif name in ("Mod", "PythonMod"):
        found = parts[0] % parts[1]
    else:
        raise NotImplementedError(name)
    return found


def _functions(formula: Any) -> set[str]:
    import sympy

    return {type(part).__name__ for part in formula.atoms(sympy.Function)}


def _refusal(how: str) -> ModelError:
    return ModelError(
        "the network computes a size from that of the image with a float, as int(0.7 * x.shape[2]) does: a "
        f"file would hold it {how}, and be wrong for other images",
        hint="use whole numbers (7 * x.shape[2] // 10), or export without --dynamic, for one --shape",
    )

"""The rules by which a call of an operator is counted, for torch's and ONNX's operators.

A MAC is one product and one sum, the unit of matrix products and convolutions. A FLOP is one
floating-point operation: two for each MAC, and one for each arithmetic step or elementary function
(a square root, an exponential) of everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

__all__ = [
    "MOVES",
    "NOTHING",
    "PER_ATTENTION",
    "PER_CONVOLUTION",
    "PER_LINEAR",
    "PER_MATRIX",
    "SOFTMAX_STEPS",
    "Call",
    "Count",
    "Rule",
    "Shape",
    "adaptive_cells",
    "attention",
    "einsum_products",
    "per_input",
    "per_output",
    "size",
    "table",
]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Count:
    """The work of some operators."""

    macs: int = 0
    """Pairs of a product and a sum."""
    others: int = 0
    """Floating-point operations that are not part of a MAC."""

    @property
    def flops(self) -> int:
        """Floating-point operations, two for each MAC."""
        return 2 * self.macs + self.others

    def __add__(self, other: Count) -> Count:
        return Count(self.macs + other.macs, self.others + other.others)


@dataclass(frozen=True)
class Call:
    """One call of an operator."""

    inputs: tuple[Shape | None, ...]
    """Shapes of the tensors that it takes, in order; ``None``: an input that is not given."""
    outputs: tuple[Shape | None, ...]
    details: Any
    """Its other arguments: all arguments of a torch operator, the attributes of an ONNX node."""

    def taken(self, position: int) -> Shape:
        """The shape of an input that is always given."""
        shape = self.inputs[position]
        if shape is None:
            raise ValueError(f"input {position} is not given")
        return shape

    def has(self, position: int) -> bool:
        """Whether an optional input is given."""
        return position < len(self.inputs) and self.inputs[position] is not None

    @property
    def result(self) -> Shape:
        """The shape of the first output; further outputs, as of norms and poolings, are not counted."""
        return self.outputs[0] or ()


@dataclass(frozen=True)
class Rule:
    """How an operator is counted."""

    how: str
    """The rule in words, for the report."""
    count: Callable[[Call], Count | None]
    """Returns ``None`` or raises an error for a form of the operator that it does not know."""

    def apply(self, call: Call) -> Count | None:
        """The work of a call; ``None``: it cannot be counted, which the report says."""
        try:
            return self.count(call)
        except (LookupError, TypeError, ValueError, AssertionError):
            return None


def size(shape: Shape) -> int:
    """Values in a tensor of this shape."""
    return prod(shape)


def per_output(steps: int, why: str = "") -> Rule:
    """``steps`` FLOPs for each value of the result."""
    return Rule(_each(steps, "output", why), lambda call: Count(others=steps * size(call.result)))


def per_input(steps: int, why: str = "", *, position: int = 0) -> Rule:
    """``steps`` FLOPs for each value of one input."""
    return Rule(_each(steps, "input", why), lambda call: Count(others=steps * size(call.taken(position))))


def _each(steps: int, which: str, why: str) -> str:
    words = f"{steps} FLOP{'s' if steps > 1 else ''} per {which} value"
    return f"{words}: {why}" if why else words


NOTHING = Rule("no work: makes a constant, or reads a size or value", lambda call: Count())
MOVES = Rule("no work: views, copies, selects or moves values", lambda call: Count())

PER_CONVOLUTION = (
    "MACs: outputs x kernel x channels of a group (transposed: inputs x kernel x channels); "
    "1 FLOP per output value for a bias"
)
PER_ATTENTION = (
    "MACs: both matrix products; 5 FLOPs per score for the softmax, 1 for the scale, 1 for a mask if any"
)
PER_MATRIX = "MACs: rows x columns x inner length"
PER_LINEAR = f"{PER_MATRIX}; 1 FLOP per output value for a bias"


def attention(query: Shape, key: Shape, value: Shape, *, masked: bool) -> Count:
    """Scaled dot-product attention of ``(..., length, channels)`` tensors, heads among the leading axes."""
    scores = prod(query[:-1]) * key[-2]
    steps = 1 + (1 if masked else 0) + SOFTMAX_STEPS
    return Count(macs=scores * (query[-1] + value[-1]), others=scores * steps)


SOFTMAX_STEPS = 5
"""Maximum, difference, exponential, sum, quotient."""


def adaptive_cells(before: Sequence[int], after: Sequence[int]) -> int:
    """The total number of input values in the cells of an adaptive pooling; cells may overlap."""
    cells = 1
    for length, parts in zip(before, after, strict=True):
        cells *= sum(-(-(part + 1) * length // parts) - part * length // parts for part in range(parts))
    return cells


def einsum_products(equation: str, shapes: Sequence[Shape]) -> int | None:
    """The number of products in an einsum of two operands; ``None``: a form that is not supported."""
    left = equation.replace(" ", "").partition("->")[0].split(",")
    if len(left) != len(shapes) or len(shapes) != 2 or any("." in term for term in left):
        return None
    lengths: dict[str, int] = {}
    for term, shape in zip(left, shapes, strict=True):
        if len(term) != len(shape):
            return None
        for index, length in zip(term, shape, strict=True):
            lengths[index] = max(lengths.get(index, 1), length)
    return prod(lengths.values())


def table(groups: Sequence[tuple[Rule, str]], single: Mapping[str, Rule]) -> dict[str, Rule]:
    """A table of rules, from groups of operators whose names are in one string, and from single ones."""
    rules = dict(single)
    for rule, names in groups:
        for name in names.split():
            if name in rules:
                raise ValueError(f"two rules for {name}")
            rules[name] = rule
    return rules

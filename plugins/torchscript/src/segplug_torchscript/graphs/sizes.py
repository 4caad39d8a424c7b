"""Arithmetic with the sizes of images, which a traced file does with tensors of one value.

In a trace ``images.shape[2] // 2`` is a division of tensors. With free sizes the size is a symbol, and a
tensor made of it would lose it. So such a tensor is a :class:`Scalar` here, until something else than
arithmetic is done with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from segplug.errors import ModelError

__all__ = [
    "Scalar",
    "as_fraction",
    "as_number",
    "as_scalar",
    "as_tensors",
    "ceiling",
    "floor",
    "fractions",
    "is_symbol",
    "rounding",
    "scalar_operation",
]

_MOST_DENOMINATOR = 1 << 10
"""A size of up to 14 bits divided by this is exact in float32, which has 24 bits."""


@dataclass(frozen=True)
class Scalar:
    """A tensor without dimensions that follows from the sizes of the input.

    An integer (int64) is ``value``. A float is ``value`` where that is a number (float32, as PyTorch computes
    it); where ``value`` is a symbol, it is ``value / denominator``, which is exact.
    """

    value: Any
    is_float: bool = False
    denominator: int = 1

    @property
    def is_symbol(self) -> bool:
        """Whether it is known only when the file runs."""
        return isinstance(self.value, torch.SymInt)

    def tensor(self) -> torch.Tensor:
        """The tensor that it stands for."""
        if not self.is_symbol:
            return torch.tensor(self.value, dtype=torch.float32 if self.is_float else torch.int64)
        whole = torch.full((), self.value, dtype=torch.int64)
        return whole.float() / self.denominator if self.is_float else whole


def as_scalar(value: torch.Tensor) -> Scalar | torch.Tensor:
    """A constant of one value, by which sizes are multiplied; any other tensor as it is."""
    if value.dim() or value.device.type != "cpu":
        return value
    if value.dtype == torch.int64:
        return Scalar(int(value))
    return Scalar(np.float32(value.item()), is_float=True) if value.dtype == torch.float32 else value


def as_number(value: Any) -> Any:
    """The number in a scalar or a tensor of one value, as ``aten::Int`` and the like take it."""
    if not isinstance(value, Scalar):
        return value.item() if isinstance(value, torch.Tensor) else value
    if value.is_symbol and value.is_float:
        if value.denominator != 1:
            raise rounding("a size that is no whole number")
        return value.value
    return value.value if value.is_symbol else value.value.item() if value.is_float else int(value.value)


def is_symbol(value: Any) -> bool:
    """Whether a number is known only when the file runs."""
    return value.is_symbol if isinstance(value, Scalar) else isinstance(value, torch.SymInt)


def as_fraction(value: Any) -> Scalar:
    """A symbol as the float of the same value."""
    return value if isinstance(value, Scalar) and value.is_float else Scalar(as_number(value), is_float=True)


def floor(value: Any) -> Any:
    """The whole number below a symbol; sizes are above 0, so that it is the one towards zero, too."""
    fraction = as_fraction(value)
    return fraction.value // fraction.denominator


def ceiling(value: Any) -> Any:
    """The whole number above a symbol."""
    fraction = as_fraction(value)
    return (fraction.value + fraction.denominator - 1) // fraction.denominator


def fractions(left: Any, right: Any) -> tuple[Any, Any]:
    """Two numbers, of which one is a symbol, multiplied by the same: whole ones that compare alike."""
    (one, below), (other, below_other) = (_ratio(*_number_parts(value)) for value in (left, right))
    return one * below_other, other * below


def as_tensors(value: Any) -> Any:
    """Scalars, and those in lists, as tensors."""
    if isinstance(value, Scalar):
        return value.tensor()
    if isinstance(value, list) and any(isinstance(part, Scalar) for part in value):
        return [as_tensors(part) for part in value]
    return value


def scalar_operation(name: str) -> Callable[..., Scalar | None] | None:
    """What an operator does with scalars; ``None``, or an operation that gives ``None``: take tensors."""
    return _OPERATIONS.get(name)


def _parts(value: Any) -> tuple[Any, bool, int] | None:
    """Value, whether it is a float, and denominator of a scalar or a number."""
    if isinstance(value, Scalar):
        return value.value, value.is_float, value.denominator
    if isinstance(value, bool) or not isinstance(value, (int, float, torch.SymInt)):
        return None
    return value, isinstance(value, float), 1


def _number_parts(value: Any) -> tuple[Any, bool, int]:
    found = _parts(value)
    if found is None:
        raise rounding(f"a value of the type {type(value).__name__}")
    return found


def _arithmetic(sign: str) -> Callable[..., Scalar | None]:
    def operation(left: Any, right: Any, *rest: Any) -> Scalar | None:
        alpha = rest[0] if rest else 1
        one, other = _parts(left), _parts(right)
        if one is None or other is None or alpha != 1:
            return None
        is_float = one[1] or other[1] or sign == "/"
        if not isinstance(one[0], torch.SymInt) and not isinstance(other[0], torch.SymInt):
            return _numbers(sign, one[0], other[0], is_float)
        if not is_float:
            return Scalar(_whole(sign, one[0], other[0]))
        return _fractions(sign, one, other)

    return operation


def _whole(sign: str, left: Any, right: Any) -> Any:
    if sign == "//":
        return left // right
    return left + right if sign == "+" else left - right if sign == "-" else left * right


def _numbers(sign: str, left: Any, right: Any, is_float: bool) -> Scalar:
    if not is_float:
        return Scalar(int(_whole(sign, int(left), int(right))))
    one, other = np.float32(left), np.float32(right)
    if sign == "/":
        return Scalar(one / other, is_float=True)
    if sign == "//":
        return Scalar(np.floor(one / other), is_float=True)
    return Scalar(np.float32(_whole(sign, one, other)), is_float=True)


def _fractions(sign: str, one: tuple[Any, bool, int], other: tuple[Any, bool, int]) -> Scalar:
    """Arithmetic with a symbol that is exact in float32; anything else is refused."""
    (left, below_left), (right, below_right) = _ratio(*one), _ratio(*other)
    if sign in ("/", "//"):
        if isinstance(right, torch.SymInt) or right <= 0:
            raise rounding("a division by a size")
        left, below = left * below_right, below_left * right
    elif sign == "*":
        left, below = left * right, below_left * below_right
    else:
        below = below_left * below_right
        left = _whole(sign, left * below_right, right * below_left)
    if below > _MOST_DENOMINATOR or below & (below - 1):
        raise rounding("a factor that float32 rounds")
    if sign == "//":
        return Scalar(left // below, is_float=True)
    return Scalar(left, is_float=True, denominator=below)


def _ratio(value: Any, _: bool, denominator: int) -> tuple[Any, int]:
    if isinstance(value, torch.SymInt):
        return value, denominator
    exact = Fraction(float(np.float32(value)))
    return exact.numerator, exact.denominator


def rounding(what: str) -> ModelError:
    """The error for sizes that no symbol can follow exactly."""
    return ModelError(
        f"the file computes sizes by {what}, which no symbol can follow exactly",
        hint="export without --dynamic, for one --shape",
    )


def _rounded(down: bool) -> Callable[..., Scalar]:
    def operation(value: Scalar) -> Scalar:
        if not value.is_float:
            return value
        if not value.is_symbol:
            return Scalar((np.floor if down else np.ceil)(value.value), is_float=True)
        below = value.denominator
        return Scalar(value.value // below if down else (value.value + below - 1) // below, is_float=True)

    return operation


def _converted(value: Any, kind: Any = None, *_: Any) -> Scalar | None:
    """``aten::to`` of int64 and float32."""
    if not isinstance(value, Scalar) or kind not in (torch.int64, torch.float32):
        return None
    if kind == torch.float32:
        return value if value.is_float or value.is_symbol else Scalar(np.float32(value.value), is_float=True)
    if not value.is_float:
        return value
    if not value.is_symbol:
        return Scalar(int(value.value))
    return Scalar(value.value // value.denominator)  # sizes are above 0: towards zero is down


def _to(value: Any, kind: Any = None, *rest: Any) -> Scalar | None:
    found = _converted(value, kind, *rest)
    if found is not None and kind == torch.float32 and found.is_symbol and not found.is_float:
        return Scalar(found.value, is_float=True)
    return found


def _divided(left: Any, right: Any, *rounding: Any) -> Scalar | None:
    if not rounding or rounding[0] is None:
        return _arithmetic("/")(left, right)
    if rounding[0] == "floor":
        return _arithmetic("//")(left, right)
    return _arithmetic("//")(left, right) if _is_positive(left) and _is_positive(right) else None


def _is_positive(value: Any) -> bool:
    found = _parts(value)
    return found is not None and (isinstance(found[0], torch.SymInt) or found[0] > 0)


def _same(value: Scalar, *_: Any) -> Scalar:
    return value


_OPERATIONS: Mapping[str, Callable[..., Scalar | None]] = {
    "add": _arithmetic("+"),
    "add_": _arithmetic("+"),
    "sub": _arithmetic("-"),
    "mul": _arithmetic("*"),
    "mul_": _arithmetic("*"),
    "rsub": lambda left, right, *rest: _arithmetic("-")(right, left, *rest),
    "floor_divide": _arithmetic("//"),
    "div": _divided,
    "floor": _rounded(True),
    "ceil": _rounded(False),
    "to": _to,
    "detach": _same,
    "clone": _same,
}

"""What TorchScript's own operators do, those of lists, numbers and sizes: in Python, which takes symbols."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional as F

from segplug.errors import ModelError
from segplug_torchscript.graphs.sizes import (
    Scalar,
    as_fraction,
    as_number,
    ceiling,
    floor,
    fractions,
    is_symbol,
    rounding,
    scalar_operation,
)

__all__ = ["FUNCTIONS", "PRIMITIVES", "PYTHON"]


def _size(values: torch.Tensor, axis: int | None = None) -> Any:
    return list(values.shape) if axis is None else values.shape[axis]


def _item(container: Any, key: Any) -> Any:
    return container[as_number(key) if isinstance(container, (list, tuple)) else key]


def _slice(values: Any, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    return values[start:end:step]


def _append(values: list[Any], value: Any) -> list[Any]:
    values.append(value)
    return values


def _set_item(container: Any, key: Any, value: Any) -> Any:
    container[key] = value
    return container


def _get(table: Mapping[Any, Any], key: Any, default: Any = None) -> Any:
    return table.get(key, default)


def _arithmetic(
    name: str, operation: Callable[[Any, Any], Any], *, floats: bool = False
) -> Callable[[Any, Any], Any]:
    """An operation of two numbers or lists. With a size that is a symbol, floats are exact fractions.

    Args:
        name: That of the operation of tensors that does the same.
        operation: What Python does.
        floats: Whether the result is a float, even of two whole numbers.
    """
    exact = scalar_operation(name)

    def compute(left: Any, right: Any) -> Any:
        both = left, right
        if not any(map(is_symbol, both)) or not (floats or any(map(_is_float, both))):
            return operation(left, right)
        if exact is None:
            raise rounding(f"the operator {name}")
        return exact(left, right)

    return compute


def _is_float(value: Any) -> bool:
    return value.is_float if isinstance(value, Scalar) else isinstance(value, float)


def _compared(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def compare(left: Any, right: Any) -> Any:
        both = left, right
        if any(map(is_symbol, both)) and any(map(_is_float, both)):
            left, right = fractions(left, right)
        return operation(left, right)

    return compare


def _whole(value: Any) -> Any:
    """``int(value)`` of the file's code, which cuts off what follows the point."""
    return floor(value) if is_symbol(value) else int(as_number(value))


def _float(value: Any) -> Any:
    return as_fraction(value) if is_symbol(value) else float(as_number(value))


def _root(value: Any) -> float:
    if is_symbol(value):
        raise rounding("a square root")
    return math.sqrt(value)


def _unwrap(value: Any) -> Any:
    if value is None:
        raise ValueError("the file takes a value that is None")
    return value


def _raise(message: Any, *_: Any) -> None:
    raise ValueError(f"the network refuses this input: {message}")


def _cannot(what: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise ModelError(f"the network of the file {what}", hint="export it from the code that made the file")

    return refuse


def _largest(left: Any, right: Any = None) -> Any:
    if right is None:
        return max(left)
    return torch.sym_max(left, right)  # type: ignore[no-untyped-call]


def _smallest(left: Any, right: Any = None) -> Any:
    if right is None:
        return min(left)
    return torch.sym_min(left, right)  # type: ignore[no-untyped-call]


def _length_of_range(low: int, high: int, step: int) -> int:
    return len(range(low, high, step))


def _format(text: str, *values: Any) -> str:
    return text.format(*values)


PYTHON: Mapping[str, Callable[..., Any]] = {
    "size": _size,
    "len": len,
    "dim": lambda values: values.dim(),
    "numel": lambda values: values.numel(),
    "__getitem__": _item,
    "slice": _slice,
    "append": _append,
    "_set_item": _set_item,
    "get": _get,
    "list": list,
    "keys": lambda table: list(table),
    "values": lambda table: list(table.values()),
    "items": lambda table: list(table.items()),
    "__contains__": lambda container, value: value in container,
    "add": _arithmetic("add", operator.add),
    "sub": _arithmetic("sub", operator.sub),
    "mul": _arithmetic("mul", operator.mul),
    "div": _arithmetic("div", operator.truediv, floats=True),
    "floordiv": _arithmetic("floor_divide", operator.floordiv),
    "remainder": _arithmetic("remainder", operator.mod),
    "neg": operator.neg,
    "pow": _arithmetic("pow", operator.pow),
    "eq": _compared(operator.eq),
    "ne": _compared(operator.ne),
    "lt": _compared(operator.lt),
    "le": _compared(operator.le),
    "gt": _compared(operator.gt),
    "ge": _compared(operator.ge),
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "__not__": operator.not_,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "__derive_index": lambda index, start, step: start + index * step,
    "__range_length": _length_of_range,
    "floor": lambda value: floor(value) if is_symbol(value) else math.floor(value),
    "ceil": lambda value: ceiling(value) if is_symbol(value) else math.ceil(value),
    "sqrt": _root,
    "Int": _whole,
    "Float": _float,
    "item": lambda value: as_fraction(value) if _is_float(value) and is_symbol(value) else as_number(value),
    "Bool": lambda value: bool(as_number(value)),
    "IntImplicit": as_number,
    "FloatImplicit": as_number,
    "ScalarImplicit": as_number,
    "format": _format,
    "warn": lambda *_: None,
    "_unwrap_optional": _unwrap,
    "is_floating_point": lambda values: values.is_floating_point(),
}
"""Operators of ``aten``, for arguments that are no tensors (sizes and the like take one, and give none)."""

PRIMITIVES: Mapping[str, Callable[..., Any]] = {
    "TupleIndex": _item,
    "unchecked_cast": lambda value: value,
    "unchecked_unwrap_optional": _unwrap,
    "Uninitialized": lambda: None,
    "RaiseException": _raise,
    "dtype": lambda values: values.dtype,
    "device": lambda values: values.device,
    "layout": lambda values: values.layout,
    "is_cuda": lambda values: values.is_cuda,
    "shape": lambda values: list(values.shape),
    "max": _largest,
    "min": _smallest,
    "abs": abs,
    "data": lambda values: values.detach(),
    "requires_grad": lambda values: False,
    "is_quantized": lambda values: values.is_quantized,
    "SetAttr": _cannot("changes itself when it runs"),
}
"""Operators of ``prim``; those of lists and of control flow are steps of their own."""


def _pooled(images: torch.Tensor, size: Any) -> torch.Tensor:
    return F.adaptive_avg_pool2d(images, tuple(size))


def _unfolded(images: torch.Tensor, kernel: Any, dilation: Any, padding: Any, stride: Any) -> torch.Tensor:
    return F.unfold(images, tuple(kernel), tuple(dilation), tuple(padding), tuple(stride))


def _folded(images: torch.Tensor, size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    return F.fold(images, tuple(size), tuple(kernel), tuple(dilation), tuple(padding), tuple(stride))


def _convolved(*arguments: Any) -> torch.Tensor:
    """``aten::_convolution`` without the switches of libraries, which change no contract."""
    return torch.ops.aten.convolution.default(*arguments[:9])  # type: ignore[no-any-return]


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "_convolution": _convolved,
    "adaptive_avg_pool2d": _pooled,
    "im2col": _unfolded,
    "col2im": _folded,
    "sigmoid": torch.sigmoid,
    "sigmoid_": torch.sigmoid_,
}
"""Operators of ``aten`` as functions that have exportable forms, or that exporters know better."""

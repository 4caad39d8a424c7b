"""Find weights that are NaN in an ONNX file: its labels would not show them.

Only NaN: constants of a graph, such as a mask, may rightly be infinite. Weights in a file of their own are
not read.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from segplug.errors import NonfiniteError
from segplug.regular_files import open_regular
from segplug.text import counted
from segplug_onnx.metadata import MODEL_GRAPH
from segplug_onnx.wire import Field, MalformedError, fields

__all__ = ["refuse_undefined"]

# Field numbers of onnx.proto: GraphProto and TensorProto, and values of TensorProto.DataType.
_INITIALIZER = 5
_TYPE, _FLOATS, _NAME, _RAW, _DOUBLES = 2, 4, 8, 9, 10
_FLOAT, _FLOAT16, _DOUBLE, _BFLOAT16 = 1, 10, 11, 16

_NAMED = 3
"""How many tensors an error lists."""


def refuse_undefined(path: Path) -> None:
    """Check the weights of a file that gives labels.

    Raises:
        NonfiniteError: some are NaN.
    """
    found: dict[str, int] = {}
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            for graph in fields(file, 0, len(content)):
                for tensor in fields(file, graph.content, graph.end) if graph.number == MODEL_GRAPH else ():
                    if tensor.number == _INITIALIZER:
                        name, count = _undefined(file, content, tensor)
                        found |= {name: count} if count else {}
        except MalformedError:  # ONNX Runtime says what is wrong with it
            return
    if not found:
        return
    values = f"{counted(sum(found.values()), 'value')} in {counted(len(found), 'tensor')}"
    listed = ", ".join(f"{name} ({count})" for name, count in [*found.items()][:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    raise NonfiniteError(
        f"the weights in {path} hold NaN, {values}: {listed}{more}",
        hint="its labels would mean nothing; infer and analyze benchmark open it with --allow-nonfinite",
    )


def _undefined(file: BinaryIO, content: mmap.mmap, tensor: Field) -> tuple[str, int]:
    """The name of a tensor, and how many of its values are NaN."""
    parts: dict[int, Field] = {part.number: part for part in fields(file, tensor.content, tensor.end)}
    name = content[parts[_NAME].content : parts[_NAME].end] if _NAME in parts else b""
    dtype = content[parts[_TYPE].content] if _TYPE in parts else 0
    stored = next((parts[number] for number in (_RAW, _FLOATS, _DOUBLES) if number in parts), None)
    if stored is None:
        return "", 0
    values = _values(content, stored, dtype)
    return name.decode("utf-8", "replace"), 0 if values is None else int(np.isnan(values).sum())


def _values(content: mmap.mmap, stored: Field, dtype: int) -> npt.NDArray[Any] | None:
    """The floating-point values, ``None`` if there are none; numbers of 16 bits are not stored one by one."""
    kinds = {(_RAW, _FLOAT): "<f4", (_RAW, _FLOAT16): "<f2", (_RAW, _DOUBLE): "<f8", (_RAW, _BFLOAT16): "<u2"}
    kinds |= {(_FLOATS, _FLOAT): "<f4", (_DOUBLES, _DOUBLE): "<f8"}
    kind = kinds.get((stored.number, dtype))
    if kind is None:
        return None
    count = (stored.end - stored.content) // np.dtype(kind).itemsize
    values = np.frombuffer(content, kind, count, stored.content)
    if dtype == _BFLOAT16:  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        # A sum is NaN if one value is. A copy, since the file is closed before the array is gone.
        return values.copy() if np.isnan(values.sum(dtype=np.float64)) else None

"""Stand-ins for NumPy's types in a pickle, which take plain numbers and texts, and nothing else.

NumPy believes what a pickle says of a type: a length below zero makes it read and write memory that is not
its own. So types and arrays are made here, of the type's code, the byte order, the shape and the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np

__all__ = ["array_types"]

_CODE = re.compile(r"[?bBhHiIlLqQefd]|b1|[iu][1248]|f[248]|c(8|16)|[SUa][0-9]{1,9}")
_ORDERS = ("<", ">", "=", "|")
_LAST_CHARACTER = 0x10FFFF


class PickledType:
    """Stands for ``numpy.dtype``."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise UnpicklingError(f"a type of NumPy that is not read: {code!a}"[:80])
        self._code = code
        self._order: Literal["<", ">", "=", "|"] = "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in _ORDERS:
            raise UnpicklingError("a type of NumPy that is not read")
        if any(part is not None for part in state[2:5]):  # of several values
            raise UnpicklingError("a type of NumPy that is not read")
        self._order = state[1]

    def made(self) -> np.dtype[Any]:
        """NumPy's own."""
        found: np.dtype[Any] = np.dtype(self._code).newbyteorder(self._order)  # "|" changes nothing
        return found

    def __reduce__(self) -> Any:
        return self.made().__reduce__()


class PickledArray(np.ndarray[Any, np.dtype[Any]]):
    """An array of a pickle. A pickle of it is that of a plain array."""

    def __new__(cls, *_: Any) -> PickledArray:
        raise UnpicklingError("an array that is no array's pickle")

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, in_columns, content = state
        plain: Any = (1, shape, _made(kind), bool(in_columns), _content(content))
        super().__setstate__(plain)
        _check_characters(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.view(np.ndarray).__reduce_ex__(protocol)


def array_types() -> Mapping[str, Any]:
    """What takes the place of NumPy's types and functions, by the names that pickles have for them."""
    types: dict[str, Any] = {"numpy.dtype": PickledType, "numpy.ndarray": PickledArray}
    for package in ("numpy.core", "numpy._core"):  # NumPy 2 moved its own
        types[f"{package}.multiarray._reconstruct"] = _reconstruct
        types[f"{package}.multiarray.scalar"] = _scalar
        types[f"{package}.numeric._frombuffer"] = _from_buffer
    return types


def _reconstruct(*_: Any) -> PickledArray:
    array: PickledArray = np.ndarray.__new__(PickledArray, (0,), np.uint8)
    return array


def _scalar(kind: Any, content: Any) -> Any:
    array = np.frombuffer(_content(content), _made(kind), 1)
    _check_characters(array)
    return array[0]


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> Any:
    values = np.frombuffer(_content(content), _made(kind))
    _check_characters(values)
    return values.reshape(shape, order="F" if order == "F" else "C")


def _made(kind: Any) -> np.dtype[Any]:
    if not isinstance(kind, PickledType):
        raise UnpicklingError("an array without a type")
    return kind.made()


def _content(content: Any) -> bytes | bytearray:
    """The bytes of an array; Python 2 wrote them as text."""
    if isinstance(content, str):
        return content.encode("latin-1")
    if not isinstance(content, (bytes, bytearray)):
        raise UnpicklingError("an array of Python objects")
    return content


def _check_characters(array: np.ndarray[Any, Any]) -> None:
    """Python takes any number for a character, and fails later."""
    if array.dtype.kind == "U" and array.dtype.itemsize and array.size:
        codes = np.frombuffer(array.tobytes(), np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if codes.max() > _LAST_CHARACTER:
            raise UnpicklingError("a text of impossible characters")

"""Check decoded JSON against a dataclass, and say in one line what is wrong with it.

msgspec checks the types, lengths and ranges that the annotations of the dataclass give. Of its message only
the place is used. What is expected there is told in words, which are made from the type at that place.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Mapping, Sequence, ValuesView
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec import inspect

from segplug.errors import ArtifactError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["AboveZero", "AtLeastOne", "Byte", "Finite", "NotNegative", "checked", "fault", "refuse_deep"]

_LARGEST = sys.float_info.max  # NaN and infinity are in no range of numbers
_DEEPEST = 64
"""How deep objects and lists lie in each other at most."""
_LONGEST = 60
"""Characters of a wrong value that a message shows."""

_STEP = re.compile(r"\.(?P<field>\w+)|\[(?P<index>\d+|\.\.\.)\]")

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]
Finite = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
AboveZero = Annotated[float, msgspec.Meta(gt=0, le=_LARGEST)]
"""Finite too."""

T = TypeVar("T", bound="DataclassInstance")


def checked(kind: type[T], data: Mapping[str, Any], what: str) -> T:
    """Make a dataclass from a decoded JSON object. A value of another type is refused, never converted.

    A key that ``kind`` does not have is ignored. In an object inside, it is refused: those are instructions,
    and one that is misspelt changes results.

    Args:
        kind: The dataclass. Its numbers have one of the types of this module.
        data: The object.
        what: What it is, for the message.

    Raises:
        ArtifactError: the data is wrong; the message names the place of the first fault.
    """
    try:
        value = msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _explained(error, kind, data, what) from error
    except UnicodeEncodeError as error:  # JSON can spell half a character: "\ud800"
        raise fault(what, "", f"it holds text that is no Unicode: {_short(str(error.object))}") from error
    for field in dataclasses.fields(value):
        inside = getattr(value, field.name)
        if dataclasses.is_dataclass(inside):
            known = [each.name for each in dataclasses.fields(inside)]
            for key in data.get(field.name, ()):
                if key not in known:
                    raise fault(what, field.name, f"{_short(key)} is none of {', '.join(known)}")
    return value


def refuse_deep(data: object, what: str) -> None:
    """Refuse decoded JSON that is nested deeper than any metadata: what reads it on calls itself.

    Raises:
        ArtifactError: it is.
    """
    layer = [data]
    for _ in range(_DEEPEST):
        inside = [item.values() if isinstance(item, Mapping) else item for item in layer]
        layer = [each for item in inside if isinstance(item, (list, ValuesView)) for each in item]
        if not layer:
            return
    raise fault(what, "", f"it is nested more than {_DEEPEST} times")


def fault(what: str, place: str, reason: str) -> ArtifactError:
    """The error for a wrong value.

    Args:
        what: What was read.
        place: The path of the value: ``mean[1]``. Empty: all of it.
        reason: What is expected there.
    """
    return ArtifactError(f"{what} is wrong at {place}: {reason}" if place else f"{what} is wrong: {reason}")


def _explained(error: msgspec.ValidationError, kind: type, data: Any, what: str) -> ArtifactError:
    _, _, path = str(error).rpartition(" - at `$")
    place, expected, value = "", inspect.type_info(kind), data
    for step in _STEP.finditer(path):
        expected = _inside(expected, step)
        if step["index"] == "...":  # msgspec does not say which value of a mapping it is
            return fault(what, place, f"{_words(expected)} is expected for every name")
        value = value[step["field"] or int(step["index"])]
        place = (place + step[0]).removeprefix(".")
    if isinstance(expected, inspect.DataclassType) and isinstance(value, Mapping):
        missing = next(field.name for field in expected.fields if field.required and field.name not in value)
        return ArtifactError(f"{what} has no {f'{place}.{missing}' if place else missing}")
    return fault(what, place, f"{_words(expected)} is expected, not {_found(value)}")


def _inside(kind: inspect.Type, step: re.Match[str]) -> inspect.Type:
    """The type of a field or of an item."""
    for each in kind.types if isinstance(kind, inspect.UnionType) else (kind,):
        match each:
            case inspect.DataclassType(fields=fields):
                return next(field.type for field in fields if field.name == step["field"])
            case inspect.TupleType(item_types=items):
                return items[int(step["index"])]
            case inspect.VarTupleType(item_type=item) | inspect.DictType(value_type=item):
                return item
    raise AssertionError(f"nothing is inside {kind}")


def _words(kind: inspect.Type) -> str:
    match kind:
        case inspect.UnionType(types=types):
            return " or ".join(_words(each) for each in types)
        case inspect.LiteralType(values=values):
            return " or ".join(json.dumps(value) for value in values)
        case inspect.IntType(ge=least, le=None):
            return f"a whole number of at least {least}"
        case inspect.IntType(ge=least, le=most):
            return f"a whole number from {least} to {most}"
        case inspect.FloatType(gt=None):
            return "a finite number"
        case inspect.FloatType(gt=limit):
            return f"a finite number above {limit}"
        case inspect.TupleType(item_types=items):
            return f"a list of {len(items)}"
    return _PLAIN[type(kind)]


_PLAIN: dict[type[inspect.Type], str] = {
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.NoneType: "null",
    inspect.VarTupleType: "a list",
    inspect.DictType: "an object",
    inspect.DataclassType: "an object",
}


def _found(value: object) -> str:
    if isinstance(value, str):
        return f"the text {_short(value)}"
    if isinstance(value, Mapping):
        return "an object"
    return f"a list of {len(value)}" if isinstance(value, Sequence) else _short(value)


def _short(value: object) -> str:
    text = json.dumps(value, default=str)  # escapes what a terminal would obey
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."

"""A config written out as one Python file that needs no other and gives the same settings."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from typing import Any

from segplug.errors import ModelError

__all__ = ["as_python"]

_WIDTH = 100
_BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}")}
_STEP = "    "


def as_python(config: Mapping[str, Any], *, location: str) -> str:
    """A config's settings as Python assignments, in their order.

    mmcv's own writer does not escape strings: one with a quote or a backslash in it does not load again.

    Args:
        config: Setting to value: dicts, lists, tuples, sets, strings, numbers, ``None``.
        location: Where the config came from, for messages.

    Raises:
        ModelError: a value, such as a function, cannot be written down.
    """
    lines = []
    for key, value in config.items():
        if not _is_name(key):
            raise ModelError(
                f"{location}: the setting {key!r} is no Python name, so it cannot be written out"
            )
        lines.append(f"{key} = {_Writer(location, key).text(value, len(key) + 3, '')}")
    return "\n".join(lines) + "\n"


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)


class _Writer:
    """Writes the values of one setting: on one line where it fits, else an item a line."""

    def __init__(self, location: str, setting: str) -> None:
        self._location, self._setting = location, setting

    def text(self, value: Any, column: int, indent: str) -> str:
        """``value`` as Python, when ``column`` characters of its line are taken already."""
        if not isinstance(value, (Mapping, list, tuple, set)) or not value:
            return self._scalar(value)
        opening, closing, items = self._parts(value, indent + _STEP)
        flat = opening + ", ".join(items) + closing
        if isinstance(value, tuple) and len(value) == 1:
            flat = f"({items[0]},)"
        if column + len(flat) <= _WIDTH and "\n" not in flat:
            return flat
        inner = "".join(f"{indent}{_STEP}{item},\n" for item in items)
        return f"{opening}\n{inner}{indent}{closing}"

    def _parts(self, value: Any, indent: str) -> tuple[str, str, list[str]]:
        """The brackets of a value that holds others, and each of those as Python."""
        if isinstance(value, Mapping):
            if all(_is_name(key) for key in value):
                return "dict(", ")", [self._item(f"{key}=", item, indent) for key, item in value.items()]
            return "{", "}", [self._item(f"{self._scalar(k)}: ", v, indent) for k, v in value.items()]
        opening, closing = _BRACKETS[_plain_type(value)]
        return opening, closing, [self._item("", item, indent) for item in value]

    def _item(self, label: str, value: Any, indent: str) -> str:
        # One more for the comma that follows.
        return label + self.text(value, len(indent) + len(label) + 1, indent)

    def _scalar(self, value: Any) -> str:
        if isinstance(value, float) and not math.isfinite(value):
            return f"float('{value}')"
        if isinstance(value, Mapping):
            return "dict()"
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, list, tuple)):
            return repr(value)
        if isinstance(value, set):
            return "set()"
        raise ModelError(
            f"{self._location}: `{self._setting}` holds a {type(value).__name__}, which cannot be written out"
        )


def _plain_type(value: Any) -> type:
    return next(kind for kind in (list, tuple, set) if isinstance(value, kind))

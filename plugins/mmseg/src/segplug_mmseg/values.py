"""Values as configs hold them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["colours", "is_list", "names", "type_name"]


def is_list(value: Any) -> bool:
    """Whether a config's value is a list: written as one, or as a tuple."""
    return isinstance(value, (list, tuple))


def names(value: Any) -> tuple[str, ...]:
    """Names of classes; empty if the value holds none."""
    if value is None or isinstance(value, str) or not isinstance(value, Iterable):
        return ()
    return tuple(str(name) for name in value)


def colours(value: Any) -> tuple[tuple[int, int, int], ...]:
    """Colours, (red, green, blue); empty if the value holds none."""
    try:
        return tuple((int(r), int(g), int(b)) for r, g, b in value)
    except (TypeError, ValueError):
        return ()


def type_name(kind: Any) -> str:
    """The name of the class that a ``type`` of mmsegmentation 1.x means; empty if it means none.

    It may be a class, or its name, or its name behind a scope or a module (``mmdet.X``, ``pkg.module.X``).
    """
    if isinstance(kind, str):
        return kind.rpartition(".")[2]
    return str(getattr(kind, "__name__", ""))

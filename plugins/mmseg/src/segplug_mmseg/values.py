"""Values as configs hold them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["colours", "is_list", "names"]


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

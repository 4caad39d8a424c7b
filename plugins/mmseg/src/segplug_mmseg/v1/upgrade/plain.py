"""Settings as plain dicts, lists and tuples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["as_list", "plain", "without"]


def plain(value: Any) -> Any:
    """A copy in which every mapping is a ``dict``; arrays become lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def as_list(value: Any) -> list[Any]:
    """A list of one or more values; ``None``: of none."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def without(settings: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """A copy without some keys."""
    return {key: value for key, value in settings.items() if key not in keys}

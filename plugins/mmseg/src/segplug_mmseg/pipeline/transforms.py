"""The transforms in a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from segplug_mmseg.values import is_list

__all__ = ["find_transform", "transform_name"]


def find_transform(pipeline: Any, name: str) -> dict[str, Any] | None:
    """The first transform of a type in a pipeline, nested ones included."""
    return next((step for step in _flat(pipeline) if step.get("type") == name), None)


def _flat(pipeline: Any) -> Iterator[dict[str, Any]]:
    for step in pipeline if is_list(pipeline) else ():
        if isinstance(step, dict):
            yield step
            yield from _flat(step.get("transforms"))


def transform_name(step: Any) -> str:
    """The name of a transform: settings with a ``type``, which is a name or a class, or a callable."""
    kind = step["type"] if isinstance(step, dict) else step
    return kind if isinstance(kind, str) else getattr(kind, "__name__", type(kind).__name__)

"""Read ``size``, ``crop_size`` and ``pad_size``: a number, (height, width), or an object with named edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug_transformers.processor.settings import Settings

__all__ = ["SizeRule", "area_of", "query_size", "usual_size"]

SizeRule = Mapping[str, int]
"""The named edges of a size, in pixels: ``height`` and ``width``, for example."""

_RULES = (
    {"height", "width"},
    {"shortest_edge"},
    {"shortest_edge", "longest_edge"},
    {"longest_edge"},
    {"max_height", "max_width"},
    {"min_pixels", "max_pixels"},
)
"""The edges that transformers takes together."""


def usual_size(settings: Settings) -> SizeRule:
    """``size``, as most processors read it.

    Raises:
        ModelError: it is no size.
    """
    square = bool(settings.given.get("default_to_square", settings.processor.default_to_square))
    return _rule(settings, "size", settings.get("size"), square=square)


def query_size(settings: Settings, max_size: Any, *, limits_default: bool = False) -> SizeRule:
    """``size``, as the processors of DETR and MaskFormer read it: a number is the short edge.

    Args:
        settings: The settings. Without a size, or with null, it is that of the class.
        max_size: The most that the long edge may become, if ``size`` is a number; ``None``: no limit.
        limits_default: Whether ``max_size`` changes the size of the class, too.

    Raises:
        ModelError: it is no size.
    """
    size = settings.given.get("size")
    if size is None:
        size = dict(settings.processor.defaults["size"])
        if limits_default and max_size is not None:
            size["longest_edge"] = max_size
    if isinstance(size, int) and max_size is not None:
        size = {"shortest_edge": size, "longest_edge": max_size}
    return _rule(settings, "size", size, square=False)


def area_of(settings: Settings, key: str) -> tuple[int, int]:
    """``crop_size`` or ``pad_size``: (height, width).

    Raises:
        ModelError: it is absent, or something else.
    """
    value = settings.get(key)
    if value is None:
        raise settings.refusal(f"there is no {key}")
    rule = _rule(settings, key, value, square=True)
    if "height" not in rule or "width" not in rule:
        raise settings.refusal(f"{key} is {value!r}, without a height and a width")
    return rule["height"], rule["width"]


def _rule(settings: Settings, key: str, value: Any, *, square: bool) -> SizeRule:
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"height": value, "width": value} if square else {"shortest_edge": value}
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        value = {"height": value[0], "width": value[1]}
    if not isinstance(value, Mapping) or set(value) not in _RULES:
        rules = "; ".join(" and ".join(sorted(rule)) for rule in _RULES)
        raise settings.refusal(f"{key} is {value!r}, not a size", hint=f"transformers takes {rules}")
    edges = {edge: number for edge, number in value.items() if number is not None}
    for edge, number in edges.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise settings.refusal(f"{edge} of {key} is {number!r}, not a number of pixels")
    return edges

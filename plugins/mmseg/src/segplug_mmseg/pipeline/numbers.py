"""Numbers of a pipeline: sizes, scales, and one value for each channel."""

from __future__ import annotations

import math
from typing import Any

from segplug_mmseg.values import is_list

__all__ = ["UNLIMITED", "lists_scales", "pair", "positive", "read_scales", "scaled", "values"]

UNLIMITED = 2**31 - 1
"""Pixels of an edge that is infinite in the config: no image is as large."""


def positive(value: Any) -> int:
    """A number of pixels."""
    if not math.isfinite(value) or int(value) < 1:
        raise ValueError(f"{value} is no size in pixels")
    return int(value)


def pair(value: Any) -> tuple[int, int]:
    """Two numbers of pixels; one number stands for both."""
    first, second = value if is_list(value) else (value, value)
    return positive(first), positive(second)


def values(value: Any) -> list[float]:
    """One or more numbers, which may be written as a number, a list or an array."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return [float(number) for number in (value if is_list(value) else [value])]


def read_scales(value: Any) -> list[tuple[int, int]]:
    """``img_scale``, which is one (width, height), a list of them, or nothing."""
    if value is None:
        return []
    if is_list(value) and not value:
        raise ValueError("img_scale is empty")
    return [_scale(scale) for scale in value] if lists_scales(value) else [_scale(value)]


def lists_scales(value: Any) -> bool:
    """Whether ``img_scale`` is a list of scales, even of one: mmseg ignores ratios then."""
    return is_list(value) and bool(value) and is_list(value[0])


def _scale(value: Any) -> tuple[int, int]:
    """A (width, height). One edge may be infinite, and is no limit then."""
    edges = value if is_list(value) else (value, value)
    width, height = (UNLIMITED if edge == math.inf else positive(edge) for edge in edges)
    if width == height == UNLIMITED:
        raise ValueError("img_scale is infinite in both edges")
    return width, height


def scaled(scale: tuple[int, int], ratio: float) -> tuple[int, int]:
    """A scale times a ratio, rounded down as mmseg does."""
    width, height = (edge if edge == UNLIMITED else int(edge * ratio) for edge in scale)
    return positive(width), positive(height)

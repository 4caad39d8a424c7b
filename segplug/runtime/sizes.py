"""The sizes of an image after each step of preprocessing, before any pixel is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segplug.preprocessing import Flip, Pad, Resize, Step

__all__ = ["Geometry", "Plan", "Size", "plan_sizes", "round_up"]

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Geometry:
    """The sizes for resizing the network's output back to the image."""

    original: Size
    """The image's own size."""
    valid: Size
    """The part of the network's input, from the top left, that the output is cut to."""
    network: Size
    """The network's input."""
    flip: Literal["horizontal", "vertical"] | None = None
    """How the input is mirrored; the output is mirrored back when it has the image's size."""

    @classmethod
    def whole(cls, size: Size) -> Geometry:
        """Of an image that is fed as it is."""
        return cls(size, size, size)


@dataclass(frozen=True)
class Plan:
    """The size after each step, and the geometry of the result."""

    sizes: tuple[Size, ...]
    geometry: Geometry


def plan_sizes(steps: Sequence[Step], original: Size) -> Plan:
    """Follow the size of an image through ``steps``."""
    size = valid = original
    flip: Literal["horizontal", "vertical"] | None = None
    sizes = []
    for step in steps:
        if isinstance(step, Resize):
            size = valid = _resized(size, step)
        elif isinstance(step, Pad):
            size = _padded(size, step)
            valid = valid if step.cut else size
        elif isinstance(step, Flip):
            flip = step.direction
        sizes.append(size)
    return Plan(tuple(sizes), Geometry(original, valid, size, flip))


def _resized(size: Size, resize: Resize) -> Size:
    height, width = _target(size, resize)
    if resize.multiple_of is None:
        return height, width
    return round_up(height, resize.multiple_of), round_up(width, resize.multiple_of)


def _target(size: Size, resize: Resize) -> Size:
    height, width = size
    scale: tuple[float, float]
    if resize.scale is not None:
        scale = resize.scale
    elif resize.ratio == 1.0 and resize.min_size is None:
        return size
    else:
        scale = (int(width * resize.ratio), int(height * resize.ratio))
    if resize.fit == "exact":
        return max(int(scale[1]), 1), max(int(scale[0]), 1)
    if resize.fit == "shortest":
        return _with_short_edge(size, resize, int(min(scale)))
    if resize.min_size is not None:
        short = max(min(scale), resize.min_size)
        scale = (short * max(size) / min(size), short)
    factor = min(max(scale) / max(size), min(scale) / min(size))
    return _times(size, factor, resize)


def _with_short_edge(size: Size, resize: Resize, short: int) -> Size:
    if resize.rounding == "half_up":
        return _times(size, short / min(size), resize)
    long = max(int(short * max(size) / min(size)), 1)
    return (short, long) if size[0] <= size[1] else (long, short)


def _times(size: Size, factor: float, resize: Resize) -> Size:
    half = 0.5 if resize.rounding == "half_up" else 0.0
    return max(int(size[0] * factor + half), 1), max(int(size[1] * factor + half), 1)


def _padded(size: Size, pad: Pad) -> Size:
    if pad.size is not None:
        return max(size[0], pad.size[0]), max(size[1], pad.size[1])
    divisor = pad.divisor or 1
    return round_up(size[0], divisor), round_up(size[1], divisor)


def round_up(size: int, divisor: int) -> int:
    """The next multiple of ``divisor``."""
    return math.ceil(size / divisor) * divisor

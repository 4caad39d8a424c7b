"""The sizes of an image after each step of preprocessing, before any pixel is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segplug.preprocessing import Crop, Flip, Pad, Resize, Step

__all__ = ["Geometry", "Plan", "Size", "pad_before", "plan_sizes", "round_up"]

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Geometry:
    """The sizes for resizing the network's output back to the image."""

    original: Size
    """The image's own size."""
    valid: Size
    """The part of the network's input that the output is cut to."""
    network: Size
    """The network's input."""
    flip: Literal["horizontal", "vertical"] | None = None
    """How the input is mirrored; the output is mirrored back when it has the image's size."""
    offset: Size = (0, 0)
    """Rows above and columns left of ``valid``: those of padding on all sides."""

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
    offset: Size = (0, 0)
    flip: Literal["horizontal", "vertical"] | None = None
    sizes = []
    for step in steps:
        if isinstance(step, Resize):
            size = valid = _resized(size, step)
            offset = (0, 0)
        elif isinstance(step, Crop):
            size = valid = step.size
            offset = (0, 0)
        elif isinstance(step, Pad):
            before, size = size, _padded(size, step)
            if step.cut:
                added = (pad_before(step, old, new) for old, new in zip(before, size, strict=True))
                offset = (offset[0] + next(added), offset[1] + next(added))
            else:
                valid, offset = size, (0, 0)
        elif isinstance(step, Flip):
            flip = step.direction
            offset = _mirrored(offset, valid, size, flip)
        sizes.append(size)
    return Plan(tuple(sizes), Geometry(original, valid, size, flip, offset))


def _mirrored(offset: Size, valid: Size, size: Size, direction: str) -> Size:
    """Where the valid part of an image of ``size`` lies after a flip: padding changes sides with it."""
    (top, left), (height, width) = offset, valid
    if direction == "horizontal":
        return top, size[1] - width - left
    return size[0] - height - top, left


def _resized(size: Size, resize: Resize) -> Size:
    if resize.scale is not None and resize.multiple == "nearest":
        return _nearest_multiples(
            size, resize.scale, resize.multiple_of or 1, keep_ratio=resize.fit == "closest"
        )
    height, width = _target(size, resize)
    if resize.multiple_of is None:
        return height, width
    return round_up(height, resize.multiple_of), round_up(width, resize.multiple_of)


def _nearest_multiples(size: Size, scale: tuple[int, int], multiple: int, *, keep_ratio: bool) -> Size:
    """The size that transformers gives images for DPT, in its order of operations: only the multiple is
    rounded.
    """
    factors = [scale[1] / size[0], scale[0] / size[1]]
    if keep_ratio:
        by_width = abs(1 - factors[1]) < abs(1 - factors[0])
        factors = [factors[1 if by_width else 0]] * 2
    height, width = (
        max(round(factor * edge / multiple), 1) * multiple for factor, edge in zip(factors, size, strict=True)
    )
    return height, width


def _target(size: Size, resize: Resize) -> Size:
    height, width = size
    scale: tuple[float, float]
    if resize.scale is not None:
        scale = resize.scale
    elif resize.factors is not None:
        scale = (int(width * resize.factors[0] + 0.5), int(height * resize.factors[1] + 0.5))
    elif resize.ratio == 1.0 and resize.min_size is None:
        return size
    else:
        scale = (int(width * resize.ratio), int(height * resize.ratio))
    if resize.fit == "exact":
        return max(int(scale[1]), 1), max(int(scale[0]), 1)
    if resize.fit == "inside" and resize.rounding != "half_up":
        factor = min(scale[1] / height, scale[0] / width)
        whole = round if resize.rounding == "half_even" else int
        return max(whole(height * factor), 1), max(whole(width * factor), 1)
    if resize.fit == "shortest" and resize.rounding == "down":
        return _rounded_down(size, int(min(scale)), resize.max_size)
    if resize.fit == "shortest" and resize.max_size is None:
        return _in_ratio(size, min(scale), min(size))
    if resize.max_size is not None:
        scale = _shortest(size, float(min(scale)), resize.max_size)
    if resize.min_size is not None:
        short = max(min(scale), resize.min_size)
        scale = (short * max(size) / min(size), short)
    if max(scale) / max(size) < min(scale) / min(size):
        return _in_ratio(size, max(scale), max(size))
    return _in_ratio(size, min(scale), min(size))


def _rounded_down(size: Size, short: int, most: int | None) -> Size:
    """The short edge becomes ``short``, the long one is rounded down: torchvision's size; with a limit of the
    long edge ``get_size_with_aspect_ratio`` of transformers, in its order of operations.
    """
    low, high = min(size), max(size)
    edge: float = short
    if most is not None and high / low * short > most:
        edge = most * low / high
        short = round(edge)
    long = high if low == short else int(edge * high / low)
    short, long = max(short, 1), max(long, 1)
    return (long, short) if size[1] < size[0] else (short, long)


def _shortest(size: Size, short: float, most: int) -> tuple[int, int]:
    """The (width, height) that an image is fitted into, so that its short edge becomes ``short`` and its long
    one at most ``most``: mmseg's ``ResizeShortestEdge``, in its order of operations.
    """
    height, width = map(float, size)
    factor = short / min(size)
    height, width = (short, factor * width) if height < width else (factor * height, short)
    if max(height, width) > most:
        factor = most / max(height, width)
        height, width = height * factor, width * factor
    return int(width + 0.5), int(height + 0.5)


def _in_ratio(size: Size, new: float, old: int) -> Size:
    """The size whose edge of length ``old`` becomes ``new``, rounded half up."""
    factor = new / old
    return max(int(size[0] * factor + 0.5), 1), max(int(size[1] * factor + 0.5), 1)


def _padded(size: Size, pad: Pad) -> Size:
    if pad.size is not None:
        return max(size[0], pad.size[0]), max(size[1], pad.size[1])
    if pad.square:
        size = (max(size), max(size))
    divisor = pad.divisor or 1
    return round_up(size[0], divisor), round_up(size[1], divisor)


def pad_before(pad: Pad, old: int, new: int) -> int:
    """How much of the padding of an axis comes before the image."""
    return (new - old) // 2 if pad.centred else 0


def round_up(size: int, divisor: int) -> int:
    """The next multiple of ``divisor``."""
    return math.ceil(size / divisor) * divisor

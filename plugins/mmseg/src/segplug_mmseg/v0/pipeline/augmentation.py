"""``MultiScaleFlipAug``: one or more views of an image, whose probabilities mmseg averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from segplug_mmseg.pipeline.missing import Missing
from segplug_mmseg.pipeline.numbers import lists_scales, read_scales, scaled
from segplug_mmseg.pipeline.transforms import transform_name
from segplug_mmseg.values import is_list

__all__ = ["Direction", "View", "read_views"]

Direction = Literal["horizontal", "vertical"]
_DIRECTIONS: dict[str, Direction] = {"horizontal": "horizontal", "vertical": "vertical"}


@dataclass(frozen=True)
class View:
    """One view: the scale of its ``Resize`` and the direction of its ``RandomFlip``."""

    scale: tuple[int, int] | None = None
    """(width, height); ``None``: the image's own size times ``ratio``."""
    ratio: float = 1.0
    flip: Direction | None = None


def read_views(step: dict[str, Any], missing: Missing) -> tuple[View, list[View]]:
    """Read the settings of a ``MultiScaleFlipAug``.

    Args:
        step: Its settings.
        missing: Gets flips that cannot be done.

    Returns:
        The view without flip at the plain scale (ratio 1 if it is listed, else the first); all views in
        mmseg's order, where an unflipped one is there once for each direction: its weight in the average.
    """
    given = step.get("img_scale")
    scales, ratios = read_scales(given), _ratios(step)
    if lists_scales(given):
        sizes = [View(scale) for scale in scales]
        plain = sizes[0]
    else:
        sizes = [View(scaled(scales[0], ratio)) if scales else View(None, ratio) for ratio in ratios or [1.0]]
        plain = sizes[ratios.index(1.0) if 1.0 in ratios else 0]
    flips = _flips(step, _directions(step), missing)
    order: list[Direction | None] = [*[None] * len(flips), *flips] if flips else [None]
    views = [View(size.scale, size.ratio, flip) for size in sizes for flip in order]
    return plain, views


def _ratios(step: dict[str, Any]) -> list[float]:
    ratios = step.get("img_ratios")
    if ratios is None:
        return []
    found = [float(ratio) for ratio in ratios] if is_list(ratios) else [float(ratios)]
    if not found or not all(0 < ratio < float("inf") for ratio in found):
        raise ValueError(f"img_ratios is {ratios}, not numbers above 0")
    return found


def _directions(step: dict[str, Any]) -> list[str]:
    value = step.get("flip_direction", "horizontal")
    return [str(direction) for direction in value] if is_list(value) else [str(value)]


def _flips(step: dict[str, Any], directions: list[str], missing: Missing) -> list[Direction]:
    """The directions in which images are flipped; none where mmseg could not average such views either."""
    if not step.get("flip"):
        return []
    names = [transform_name(transform) for transform in step.get("transforms") or ()]
    problem = None
    if names.count("RandomFlip") != 1:
        count = names.count("RandomFlip") or "no"
        problem = f"flips images with {count} RandomFlip, but mmseg flips every output back once"
    elif "Pad" in names and len(names) - names[::-1].index("Pad") - 1 < names.index("RandomFlip"):
        problem = "has RandomFlip after Pad, which mmseg refuses"
    elif unknown := [direction for direction in directions if direction not in _DIRECTIONS]:
        problem = f"flips in the direction {unknown[0]!r}, which mmseg cannot flip back"
    if problem is not None:
        missing.note(problem, "the flips are left out")
        return []
    return [_DIRECTIONS[direction] for direction in directions]

"""``MultiScaleFlipAug`` taken apart: the scales and the flips of its views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segplug_mmseg.pipeline.numbers import lists_scales, read_scales, scaled
from segplug_mmseg.v1.upgrade.plain import as_list

__all__ = ["Scale", "Views", "read_views"]


@dataclass(frozen=True)
class Scale:
    """What a ``Resize`` gets from its view."""

    size: tuple[int, int] | None = None
    """(width, height); ``None``: the image's own size times ``ratio``."""
    ratio: float = 1.0


@dataclass(frozen=True)
class Views:
    """All views: each scale with each flip."""

    plain: Scale
    """Ratio 1 if it is listed, else the first."""
    scales: tuple[Scale, ...]
    flips: tuple[str | None, ...]
    """Directions; ``None``: as it is. 0.x has one unflipped view for each direction."""

    @property
    def several(self) -> bool:
        """Whether there is more than the plain view."""
        return any(scale != self.plain for scale in self.scales) or any(self.flips)


def read_views(augmentation: Mapping[str, Any]) -> Views:
    """The views of a ``MultiScaleFlipAug``, in the order of 0.x.

    Raises:
        ValueError: scales or ratios are no positive numbers.
    """
    given = augmentation.get("img_scale")
    sizes, ratios = read_scales(given), [float(ratio) for ratio in as_list(augmentation.get("img_ratios"))]
    if lists_scales(given):
        scales = [Scale(size) for size in sizes]
        plain = scales[0]
    else:
        scales = [
            Scale(scaled(sizes[0], ratio)) if sizes else Scale(None, ratio) for ratio in ratios or [1.0]
        ]
        plain = scales[ratios.index(1.0) if 1.0 in ratios else 0]
    directions = [str(one) for one in as_list(augmentation.get("flip_direction", "horizontal"))]
    flips: list[str | None] = [None]
    if augmentation.get("flip"):
        flips = [*[None] * len(directions), *directions]
    return Views(plain, tuple(scales), tuple(flips))

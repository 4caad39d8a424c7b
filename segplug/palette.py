"""Colours of classes: given ones, or mmsegmentation's random ones."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Palette", "choose_palette", "label_palette", "random_palette"]

Palette = tuple[tuple[int, int, int], ...]
"""One RGB colour (0 to 255) for each class."""


def random_palette(num_classes: int) -> Palette:
    """The random colours that mmsegmentation uses without a palette; always the same."""
    import numpy as np

    colours = np.random.RandomState(42).randint(0, 255, size=(num_classes, 3))
    return tuple((int(red), int(green), int(blue)) for red, green, blue in colours)


def choose_palette(palettes: Sequence[Palette], num_classes: int) -> Palette:
    """The first palette that has a colour for every class, else the random one."""
    return next((palette for palette in palettes if len(palette) >= num_classes > 0), ()) or random_palette(
        max(num_classes, 1)
    )


def label_palette(palettes: Sequence[Palette], num_classes: int) -> Palette:
    """One colour for each label: as :func:`choose_palette`; of one class, label 0 is the rest, in black."""
    colours = choose_palette(palettes, num_classes)
    return ((0, 0, 0), *colours) if num_classes == 1 else colours

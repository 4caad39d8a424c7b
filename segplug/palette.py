"""Colours of classes: given ones, those of a data set or a file, or colours that are well told apart."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from segplug.errors import UsageError
from segplug.palette_files import read_palette
from segplug.palette_tables import DATASETS, DISTINCT
from segplug.text import counted

__all__ = [
    "PALETTE_NAMES",
    "LabelColours",
    "Palette",
    "choose_palette",
    "distinct_palette",
    "label_colours",
    "label_palette",
    "named_palette",
    "palette_key",
    "random_palette",
]

Palette = tuple[tuple[int, int, int], ...]
"""One RGB colour (0 to 255) for each class."""

PALETTE_NAMES = ("distinct", *DATASETS)
"""The names that :func:`named_palette` knows."""

_BLACK = (0, 0, 0)

_BACKGROUNDS = ("background", "bg", "class 0")
"""What the first of two classes is called if it is what is left beside the thing, or if nobody named it."""


@dataclass(frozen=True)
class LabelColours:
    """How labels are painted."""

    palette: Palette
    """One colour for each label; with ``multilabel`` one for each class."""
    unpainted: frozenset[int] = frozenset()
    """Labels whose pixels stay as they are in a painted image."""
    multilabel: bool = False
    """Whether label maps are bit masks (:attr:`segplug.model.ModelMeta.multilabel`)."""

    @cached_property
    def of_labels(self) -> Palette:
        """One colour for each value of a label map, from 0. Of a bit mask it is the mean of the colours of
        the classes that are there, and black where none is.
        """
        return _means(self.palette) if self.multilabel else self.palette


def distinct_palette(count: int) -> Palette:
    """Colours that are well told apart, by colour-blind readers too; the first N are those of N classes.

    None is black. There are 256; of more classes, every 256th has the same.
    """
    return tuple(itertools.islice(itertools.cycle(_colours(DISTINCT)), count))


def named_palette(name: str, count: int) -> Palette:
    """The palette of a name or a file.

    Args:
        name: One of :data:`PALETTE_NAMES`, or a file (:func:`segplug.palette_files.read_palette`). A name
            wins over a file of the same name.
        count: How many classes need a colour. Colours that are left over are not used.

    Raises:
        UsageError: there is no such palette, the file cannot be read, or it has too few colours.
    """
    if name == "distinct":
        return distinct_palette(count)
    colours = _all_colours(name)
    if len(colours) < count:
        raise UsageError(
            f"the palette {name} has {counted(len(colours), 'colour')}, too few for "
            f"{counted(count, 'class', 'classes')}",
            hint="--palette distinct has colours for any number of classes",
        )
    return colours[:count]


def palette_key(name: str) -> str:
    """Identifies the colours of a palette, which may be a file that changes; raises as its reader does."""
    return hashlib.sha256(str(_all_colours(name)).encode()).hexdigest()[:16]


def _all_colours(name: str) -> Palette:
    if name == "distinct":
        return _colours(DISTINCT)
    return _colours(DATASETS[name]) if name in DATASETS else read_palette(name, names=PALETTE_NAMES)


def random_palette(num_classes: int) -> Palette:
    """The random colours that mmsegmentation uses without a palette; always the same."""
    import numpy as np

    colours = np.random.RandomState(42).randint(0, 255, size=(num_classes, 3))
    return tuple((int(red), int(green), int(blue)) for red, green, blue in colours)


def choose_palette(palettes: Sequence[Palette], num_classes: int) -> Palette:
    """The first palette that has a colour for every class, else colours that are well told apart."""
    return _fitting(palettes, num_classes) or distinct_palette(max(num_classes, 1))


def label_palette(palettes: Sequence[Palette], num_classes: int) -> Palette:
    """One colour for each label: as :func:`choose_palette`; of one class, label 0 is the rest, in black."""
    colours = choose_palette(palettes, num_classes)
    return (_BLACK, *colours) if num_classes == 1 else colours


def label_colours(
    palettes: Sequence[Palette], num_classes: int, classes: Sequence[str] = (), *, multilabel: bool = False
) -> LabelColours:
    """One colour for each label, and the labels that are not painted.

    Where no palette fits and there are two labels, a background and a thing, the background is not painted.
    Label 0 is taken for the background if the model has one class, or two whose first is named background or
    not named.

    Args:
        palettes: The palettes to choose from, as for :func:`choose_palette`.
        num_classes: Number of classes.
        classes: Their names; empty: they have none.
        multilabel: Whether label maps are bit masks: pixels without a class are not painted then.
    """
    if multilabel:
        colours = choose_palette(palettes, num_classes)[:num_classes]
        return LabelColours(colours, frozenset({0}), multilabel=True)
    if not _fitting(palettes, num_classes) and _has_background(num_classes, classes):
        return LabelColours((_BLACK, *distinct_palette(1)), frozenset({0}))
    return LabelColours(label_palette(palettes, num_classes))


def _has_background(num_classes: int, classes: Sequence[str]) -> bool:
    if num_classes == 2 and classes:
        return classes[0].strip().lower() in _BACKGROUNDS
    return num_classes in (1, 2)


def _means(palette: Palette) -> Palette:
    """The mean of the colours of each set of classes: bit ``c`` of its number is set where ``c`` is in it."""
    import numpy as np

    classes = np.arange(len(palette))
    members = np.arange(1 << len(palette))[:, None] >> classes & 1
    sizes = np.maximum(members.sum(axis=1, keepdims=True), 1)
    means = np.rint(members @ np.array(palette) / sizes).astype(int)
    return tuple((red, green, blue) for red, green, blue in means.tolist())


def _fitting(palettes: Sequence[Palette], num_classes: int) -> Palette:
    return next((palette for palette in palettes if len(palette) >= num_classes > 0), ())


def _colours(text: str) -> Palette:
    """The colours of a table: ``rrggbb`` for each label."""
    return tuple((value >> 16, value >> 8 & 255, value & 255) for value in (int(c, 16) for c in text.split()))

"""Which colour is which class, and how much of an image each class covers. Plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from segplug.palette import LabelColours

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LegendEntry", "count_labels", "legend_entries", "share_text"]

_BLOCK = 1 << 22
"""Pixels that are counted at once: NumPy counts a copy of eight bytes for each."""


@dataclass(frozen=True)
class LegendEntry:
    """One class in a legend."""

    label: int
    """The value in label maps; of a class of a bit mask ``1 << bit``."""
    name: str
    colour: tuple[int, int, int]
    """RGB, 0 to 255."""
    pixels: int | None = None
    """How many pixels of the image have this label; ``None``: the legend belongs to no image."""
    share: float | None = None
    """The share of the image's pixels, 0 to 1; ``None`` as for ``pixels``."""
    painted: bool = True
    """Whether painted images show the colour. Otherwise these pixels stay as they are, or it is not known."""
    bit: int | None = None
    """The number of the class, from 0, if label maps are bit masks
    (:attr:`segplug.model.ModelMeta.multilabel`): a pixel counts for each of its classes."""


def legend_entries(
    names: Sequence[str],
    colours: LabelColours,
    counts: npt.NDArray[np.int64] | None = None,
    *,
    unknown: int = 255,
) -> tuple[LegendEntry, ...]:
    """The legend of a model, or of one of its label maps.

    Args:
        names: One for each label, or for each bit of a bit mask; a label without one is called by its number,
            ``class 3``.
        colours: How labels are painted; labels without a colour are black.
        counts: The number of pixels of each label, from 0 (:func:`count_labels`): only labels that occur are
            listed, the largest first. ``None``: all labels of the model, in their order. Of bit masks, each
            class counts in all sets that have it, so that shares may add up to more than 1; ``no class`` is
            what has none.
        unknown: The label of pixels that have no class.
    """
    if colours.multilabel:
        return _entries_of_bits(names, colours, counts, unknown)
    if counts is None:
        return tuple(_entry(label, names, colours, unknown) for label in range(len(colours.palette)))
    total = int(counts.sum())
    found = sorted((-int(pixels), label) for label, pixels in enumerate(counts) if pixels)
    return tuple(
        _entry(label, names, colours, unknown, pixels=-negative, share=-negative / total)
        for negative, label in found
    )


def _entries_of_bits(
    names: Sequence[str], colours: LabelColours, counts: npt.NDArray[np.int64] | None, unknown: int
) -> tuple[LegendEntry, ...]:
    classes = [
        LegendEntry(
            label=1 << bit, name=names[bit] if bit < len(names) else f"class {bit}", colour=colour, bit=bit
        )
        for bit, colour in enumerate(colours.palette)
    ]
    if counts is None:
        return tuple(classes)
    import numpy as np

    known = counts[: 1 << len(classes)]
    values, total = np.arange(len(known)), int(counts.sum())
    found = [(int(known[values & entry.label > 0].sum()), entry) for entry in classes]
    found += [
        (int(known[:1].sum()), LegendEntry(label=0, name="no class", colour=(0, 0, 0), painted=False)),
        (total - int(known.sum()), LegendEntry(label=unknown, name="unknown", colour=(0, 0, 0))),
    ]
    found.sort(key=lambda item: -item[0])
    return tuple(replace(entry, pixels=pixels, share=pixels / total) for pixels, entry in found if pixels)


def count_labels(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How many pixels have each label, int64, from label 0 to the largest that occurs."""
    import numpy as np

    flat = labels.reshape(-1)
    counts = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    for first in range(0, flat.size, _BLOCK):
        counts += np.bincount(flat[first : first + _BLOCK], minlength=counts.size)
    return counts


def share_text(share: float) -> str:
    """A share of an image in percent: a class that occurs is never shown as 0 %."""
    return "< 0.1 %" if 0 < share < 0.001 else f"{share:.1%}".replace("%", " %")


def _entry(
    label: int,
    names: Sequence[str],
    colours: LabelColours,
    unknown: int,
    *,
    pixels: int | None = None,
    share: float | None = None,
) -> LegendEntry:
    is_class = label < len(colours.palette)
    if label < len(names):
        name = names[label]
    elif label in colours.unpainted:
        name = "background"
    else:
        name = "unknown" if label == unknown else f"class {label}"
    return LegendEntry(
        label=label,
        name=name,
        colour=colours.palette[label] if is_class else (0, 0, 0),
        pixels=pixels,
        share=share,
        painted=label not in colours.unpainted,
    )

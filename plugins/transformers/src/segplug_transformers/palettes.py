"""The colours of a model's classes, where they are those of a known data set.

Models on the hub name the data set that they were trained on in their card, and carry the names of its
classes. Their number and the first names decide, since the rest differs in spelling: wall, building, sky, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segplug.palette import Palette, named_palette

__all__ = ["palette_for", "palette_of"]


@dataclass(frozen=True)
class _Known:
    """A data set whose palette segplug has."""

    palette: str
    """Its name in segplug."""
    count: int
    """How many classes it has."""
    begins: tuple[str, ...]
    """The names of the first classes, each the first of its synonyms."""
    names: tuple[str, ...]
    """What it is called on the hub, without case, and without all but letters and digits."""


_KNOWN = (
    _Known(
        "ade20k",
        150,
        ("wall", "building", "sky", "floor", "tree", "ceiling"),
        ("ade20k", "ade20k150", "ade", "adechallengedata2016", "sceneparse150", "sceneparsing"),
    ),
    _Known("cityscapes", 19, ("road", "sidewalk", "building", "wall", "fence", "pole"), ("cityscapes",)),
    _Known(
        "pascal_voc",
        21,
        ("background", "aeroplane", "bicycle", "bird", "boat", "bottle"),
        ("pascalvoc", "pascalvoc2012", "voc", "voc2012"),
    ),
    _Known(
        "pascal_context",
        60,
        ("background", "aeroplane", "bag", "bed", "bedclothes"),
        ("pascalcontext", "pascalcontext60"),
    ),
    _Known("pascal_context_59", 59, ("aeroplane", "bag", "bed", "bedclothes"), ("pascalcontext59",)),
    _Known(
        "coco_stuff",
        171,
        ("person", "bicycle", "car", "motorcycle", "airplane"),
        ("cocostuff", "cocostuff164k", "cocostuff10k", "cocostuff171"),
    ),
    _Known("camvid", 11, ("sky", "building", "pole", "road"), ("camvid",)),
    _Known("loveda", 7, ("background", "building", "road", "water"), ("loveda",)),
    _Known("isaid", 16, ("background", "ship", "store"), ("isaid",)),
    _Known("potsdam", 6, ("impervious", "building", "low", "tree"), ("potsdam", "isprspotsdam")),
)

_UNNAMED = re.compile(r"LABEL_\d+")
"""What transformers calls classes without names."""


def palette_for(classes: Sequence[str], names: Iterable[str]) -> Palette:
    """The palette of the data set that the classes are of.

    Args:
        classes: The names of the classes, in label order; ``LABEL_0`` and so on: they have none.
        names: What the data set may be called: ``scene_parse_150``. It counts for classes without names.

    Returns:
        One RGB colour for each class; empty: not known.
    """
    unnamed = all(_UNNAMED.fullmatch(name) for name in classes)
    named = {_letters(name.rpartition("/")[2]) for name in names}
    for known in _KNOWN:
        if len(classes) != known.count:
            continue
        first = tuple(_first_word(name) for name in classes[: len(known.begins)])
        if named.intersection(known.names) if unnamed else first == known.begins:
            return named_palette(known.palette, known.count)
    return ()


def palette_of(name: str) -> Palette:
    """The palette of a data set by its name on the hub; empty: not known."""
    found = _letters(name.rpartition("/")[2])
    known = next((known for known in _KNOWN if found in known.names), None)
    return () if known is None else named_palette(known.palette, known.count)


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _first_word(name: str) -> str:
    """``floor`` of ``floor, flooring``."""
    return re.split(r"[\s,;_/-]", name.strip().lower(), maxsplit=1)[0]

"""Fonts for the texts in pictures."""

from __future__ import annotations

import functools
from typing import Any

from segplug.runtime.libraries import pillow

__all__ = ["can_draw", "font_for"]

_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "Arial.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
)
"""What Pillow looks for among the fonts of the system; its own font has ASCII only."""

_NOWHERE = "\uffff"
"""A character that no font has: it is drawn as a box."""


@functools.lru_cache(maxsize=64)
def font_for(characters: frozenset[str], size: int) -> Any:
    """A font that draws these characters, or as many of them as there are fonts for.

    Args:
        characters: What is to be drawn.
        size: The height of the letters, in pixels.
    """
    pillow()
    from PIL import ImageFont

    best = ImageFont.load_default(size)
    if _lacking(best, characters):
        for font in (best, *_of_system(size)):
            if _lacking(font, characters) < _lacking(best, characters):
                best = font
    return best


def can_draw(font: Any, text: str) -> bool:
    """Whether the font has every character of a text."""
    return not _lacking(font, frozenset(text))


@functools.lru_cache(maxsize=8)
def _of_system(size: int) -> tuple[Any, ...]:
    from PIL import ImageFont

    found = []
    for name in _FONTS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:  # it is not installed
            continue
    return tuple(found)


@functools.lru_cache(maxsize=256)
def _lacking(font: Any, characters: frozenset[str]) -> int:
    box = _drawn(font, _NOWHERE)
    return sum(_drawn(font, character) == box for character in characters if not character.isspace())


def _drawn(font: Any, character: str) -> tuple[Any, bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)

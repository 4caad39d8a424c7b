"""Draw a legend beside or below an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segplug.legend import share_text
from segplug.runtime.fonts import can_draw, font_for
from segplug.runtime.libraries import pillow
from segplug.text import printable_line, shortened

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.legend import LegendEntry

__all__ = ["Place", "with_legend"]

Place = Literal["right", "below"]

_PAGE, _INK, _EDGE = (255, 255, 255), (30, 30, 30), (120, 120, 120)
_LONGEST = 40
"""Characters of a name; longer ones are shortened."""
_SMALLEST, _LARGEST = 13, 44
"""Size of the letters, pixels."""
_ROWS = 12
"""Rows of a column beside an image, even if the image is not as high."""


def with_legend(
    image_bgr: npt.NDArray[np.uint8], entries: Sequence[LegendEntry], *, place: Place = "right"
) -> npt.NDArray[np.uint8]:
    """An image with a legend beside it: the colour, the name and, where it is known, the share of each class.

    Args:
        image_bgr: uint8 ``(H, W, 3)``, BGR; not changed.
        entries: The classes, in order; without any, the image is returned as it is. A name that no font here
            can draw is shown as ``class 3``.
        place: ``right`` or ``below``.

    Returns:
        uint8 ``(H', W', 3)``, BGR: the image at the top left, its pixels as they were.
    """
    if not entries:
        return image_bgr
    height, width = image_bgr.shape[:2]
    size = min(max(round(0.024 * min(height, width) + 5), _SMALLEST), _LARGEST)
    if place == "right":
        legend = _legend(entries, size, height=height)
        return np.hstack([_filled(image_bgr, height=len(legend)), _filled(legend, height=height)])
    legend = _legend(entries, size, width=width)
    return np.vstack([_filled(image_bgr, width=legend.shape[1]), _filled(legend, width=width)])


def _legend(
    entries: Sequence[LegendEntry], size: int, *, height: int = 0, width: int = 0
) -> npt.NDArray[np.uint8]:
    """The legend alone, uint8 ``(h, w, 3)``, BGR, with letters of ``size`` pixels.

    With a ``height`` it goes down its columns, with a ``width`` along its rows. What does not fit makes it
    larger.
    """
    texts = [_text(entry) for entry in entries]
    font = font_for(frozenset().union(*texts), size)
    texts = [
        text if can_draw(font, text) else _text(replace(entry, name=f"class {entry.label}"))
        for entry, text in zip(entries, texts, strict=True)
    ]
    layout = _Layout(
        row=round(size * 1.6),
        swatch=round(size * 1.1),
        margin=round(size * 0.8),
        text=math.ceil(max(font.getlength(text) for text in texts)),
    )
    numbers = range(len(texts))
    if height:
        rows = min(len(texts), max((height - 2 * layout.margin) // layout.row, _ROWS))
        columns = math.ceil(len(texts) / rows)
        cells = [divmod(number, rows) for number in numbers]
    else:
        columns = min(max((width - layout.margin) // layout.width, 1), len(texts))
        rows = math.ceil(len(texts) / columns)
        cells = [(number % columns, number // columns) for number in numbers]
    picture = pillow().new(
        "RGB", (columns * layout.width + layout.margin, rows * layout.row + 2 * layout.margin), _PAGE
    )
    _draw(picture, entries, texts, cells, layout, font)
    return np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])


@dataclass(frozen=True)
class _Layout:
    """The measures of a legend, in pixels."""

    row: int
    swatch: int
    margin: int
    text: int

    @property
    def width(self) -> int:
        """Of one column, with the margin at its right."""
        return self.swatch + self.margin // 2 + self.text + self.margin


def _draw(
    picture: Any,
    entries: Sequence[LegendEntry],
    texts: Sequence[str],
    cells: Sequence[tuple[int, int]],
    layout: _Layout,
    font: Any,
) -> None:
    """Draw each entry into its cell (column, row)."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    for entry, text, (column, row) in zip(entries, texts, cells, strict=True):
        left = layout.margin + column * layout.width
        middle = layout.margin + row * layout.row + layout.row // 2
        top = middle - layout.swatch // 2
        right, bottom = left + layout.swatch, top + layout.swatch
        draw.rectangle(
            (left, top, right, bottom), fill=entry.colour if entry.painted else _PAGE, outline=_EDGE
        )
        if not entry.painted:
            draw.line((left, bottom, right, top), fill=_EDGE)
        draw.text((right + layout.margin // 2, middle), text, fill=_INK, font=font, anchor="lm")


def _text(entry: LegendEntry) -> str:
    name = shortened(printable_line(entry.name), _LONGEST)
    return name if entry.share is None else f"{name}  {share_text(entry.share)}"


def _filled(image: npt.NDArray[np.uint8], *, height: int = 0, width: int = 0) -> npt.NDArray[np.uint8]:
    """The image with white below and at the right, up to a size."""
    below, right = max(height - image.shape[0], 0), max(width - image.shape[1], 0)
    if not below and not right:
        return image
    return np.pad(image, ((0, below), (0, right), (0, 0)), constant_values=255)

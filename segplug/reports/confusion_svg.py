"""The confusion matrix of a run as a vector picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from segplug.results import Figure
from segplug.text import printable_line, shortened

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["MOST_DRAWN", "confusion_figure"]

MOST_DRAWN = 200
"""Of more labels no picture is drawn: its cells would be smaller than a pixel of a screen."""

_NUMBERED = 24
"""With up to this many labels, cells have their numbers as text."""

_RIGHT, _WRONG = "#0072b2", "#d55e00"
"""Blue and vermilion, which colour-blind readers can tell apart."""

_NAME = 24
"""Characters of a name; longer ones are shortened."""


def confusion_figure(names: Sequence[str], pairs: npt.NDArray[np.int64]) -> Figure:
    """A picture of the shares of each true label's pixels that were predicted as each label.

    Args:
        names: The N labels.
        pairs: ``(N, M)``, N <= M: rows are true labels, columns predicted ones; columns from N on are counted
            in the total of a row, and not drawn.
    """
    return Figure(
        "Each row is a class of the masks, each column a prediction. A cell is the percentage of the row's "
        "pixels. Blue is right, orange is wrong; the orange is stronger than its share, to be seen.",
        draw=lambda: _svg(names, _shares(pairs)).encode(),
        media_type="image/svg+xml",
        description=_description(names, _shares(pairs)),
    )


def _shares(pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """``(N, N)``, 0 to 1; rows of labels that do not occur are 0."""
    shares: npt.NDArray[np.float64] = pairs[:, : len(pairs)] / np.maximum(pairs.sum(axis=1), 1)[:, None]
    return shares


def _description(names: Sequence[str], shares: npt.NDArray[np.float64]) -> str:
    wrong = shares * (1 - np.eye(len(shares)))
    row, column = divmod(int(wrong.argmax()), len(wrong))
    most = (
        f"; the largest error: {wrong[row, column]:.1%} of {names[row]} are predicted as {names[column]}"
        if wrong[row, column] > 0
        else ""
    )
    return f"Confusion matrix of {len(names)} classes{most}."


def _svg(names: Sequence[str], shares: npt.NDArray[np.float64]) -> str:
    count = len(names)
    numbered = count <= _NUMBERED
    cell = 38.0 if numbered else max(900 / count, 6.0)
    font = 13.0 if numbered else min(max(cell * 0.8, 5.0), 12.0)
    short = [shortened(printable_line(name), _NAME) for name in names]
    side = max(len(name) for name in short) * font * 0.6 + font
    width, height = side + count * cell + font, side + count * cell + 2 * font
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}">',
        *_axes(short, side, cell, font),
    ]
    least = 0.0005 if numbered else 0.005  # a picture of many labels would have too many cells
    for row, column in np.argwhere(shares >= least).tolist():
        lines += _cell(names, shares[row, column], (row, column), side, cell, numbered)
    return "\n".join((*lines, "</svg>"))


def _axes(names: Sequence[str], side: float, cell: float, font: float) -> Iterator[str]:
    length = len(names) * cell
    yield f'<rect x="{side:.1f}" y="{side:.1f}" width="{length:.1f}" height="{length:.1f}" {_FRAME}/>'
    for number, name in enumerate(names):
        middle = side + (number + 0.5) * cell
        text = f'font-size="{font:.1f}" fill="currentColor" dominant-baseline="central"'
        yield (
            f'<text x="{side - font / 2:.1f}" y="{middle:.1f}" text-anchor="end" {text}>{escape(name)}</text>'
        )
        yield (
            f'<text transform="translate({middle:.1f} {side - font / 2:.1f}) rotate(-90)" {text}>'
            f"{escape(name)}</text>"
        )


_FRAME = 'fill="none" stroke="currentColor" stroke-opacity="0.35"'


def _cell(
    names: Sequence[str], share: float, place: tuple[int, int], side: float, cell: float, numbered: bool
) -> Iterator[str]:
    row, column = place
    left, top = side + column * cell, side + row * cell
    right = row == column
    # Errors are small beside what is right: with the root of their share they are seen.
    opacity = share if right else share**0.5
    yield (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{cell:.1f}" height="{cell:.1f}" '
        f'fill="{_RIGHT if right else _WRONG}" fill-opacity="{opacity:.3f}">'
        f"<title>{escape(printable_line(names[row]))} predicted as "
        f"{escape(printable_line(names[column]))}: {share:.2%}</title></rect>"
    )
    if numbered:
        colour = "#fff" if opacity > 0.55 else "currentColor"
        yield (
            f'<text x="{left + cell / 2:.1f}" y="{top + cell / 2:.1f}" text-anchor="middle" font-size="11" '
            f'dominant-baseline="central" fill="{colour}">{_percent(share)}</text>'
        )


def _percent(share: float) -> str:
    """A share in percent, short; the unit is in the caption."""
    percent = share * 100
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:.1f}"

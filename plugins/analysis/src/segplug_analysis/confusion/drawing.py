"""The matrix as a picture that is readable with 3 classes and with 150."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug_analysis.confusion.matrix import Confusion, Normalize
from segplug_analysis.pictures import Kind, encode, font_notes, new_figure, plain_text, styled

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure

__all__ = ["ConfusionPicture"]

_ANNOTATED = 25
"""With up to this many classes every cell has its number as text."""

_CELL = 0.135
"""Side of a cell that has a class name beside it, in inches."""

_NAMED = 180
"""With more classes the cells get smaller and not all are named: larger pictures need too much memory."""

_RIGHT, _WRONG = "Blues", "Oranges"
"""Two colour scales: in one, the large numbers of the diagonal would make all others pale. Colour-blind
readers can tell the two apart."""

_NO_PIXELS = "0.88"

_LONGEST_NAME = 28

_LOG_RANGE = 1e-4
"""Less than this fraction of the largest number is drawn like 0."""

_UNITS = {
    "true": "% of the true class's pixels",
    "prediction": "% of the pixels predicted as the class",
    "all": "% of all pixels",
    "none": "pixels",
}


@dataclass(frozen=True)
class _Layout:
    """Sizes, in inches and points."""

    cell: float
    names: float
    """Font size of the class names."""
    labels: float
    """Font size of axes and colour bars: readable when the whole picture is seen."""
    margin: float
    """Space for names, titles and colour bars."""
    every_side: bool
    """Whether names are on all four sides, for long rows."""
    step: int = 1
    """Every ``step``-th class is named."""


def _layout(classes: int) -> _Layout:
    if classes <= _ANNOTATED:
        return _Layout(cell=0.5, names=10, labels=10, margin=3.4, every_side=False)
    shown = min(classes, _NAMED)
    return _Layout(
        cell=_CELL * shown / classes,
        names=7,
        labels=max(10, shown / 9),
        margin=6.0,
        every_side=True,
        step=math.ceil(classes / _NAMED),
    )


@dataclass(frozen=True)
class ConfusionPicture:
    """A confusion matrix as a picture."""

    confusion: Confusion
    normalize: Normalize
    title: str

    @property
    def unit(self) -> str:
        return _UNITS[self.normalize]

    def notes(self) -> list[str]:
        """Notes on what the picture does not show."""
        classes = self.confusion.classes
        step = _layout(len(classes)).step
        notes = [f"the picture has the names of one in {step} classes"] if step > 1 else []
        return notes + font_notes([self.title, *classes])

    def encoded(self, kind: Kind) -> bytes:
        """The picture as the content of a file."""
        layout = _layout(len(self.confusion.classes))
        side = layout.cell * len(self.confusion.classes) + layout.margin
        with styled("white"):
            figure = new_figure(max(side + 0.6, 6.5), max(side - 0.2, 5.0), fixed_aspect=True)
            self._draw(figure, layout)
            return encode(figure, kind)

    def _draw(self, figure: Figure, layout: _Layout) -> None:
        axes = figure.subplots()
        values = self.confusion.normalized(self.normalize) * (1 if self.normalize == "none" else 100)
        diagonal = np.eye(len(values), dtype=bool)
        axes.set_facecolor(_NO_PIXELS)
        images = []
        for right, colours, label in ((True, _RIGHT, "correct (diagonal)"), (False, _WRONG, "confused")):
            shown = np.where(diagonal == right, values, np.nan)
            norm, scale = self._norm(shown, diagonal=right)
            visible = np.ma.masked_invalid(np.maximum(shown, norm.vmin))  # a log axis has no 0
            image = axes.imshow(visible, cmap=colours, norm=norm, interpolation="nearest")
            images.append(image)
            bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, pad=0.015)
            bar.set_label(f"{label}{scale}", fontsize=layout.labels)
            bar.ax.tick_params(labelsize=layout.labels)
        _name_classes(axes, self.confusion.classes, layout)
        if len(values) <= _ANNOTATED:
            self._annotate(axes, values, images)
        # The unit is above the matrix: beside the colour bar of a small matrix it would be too long.
        figure.suptitle(plain_text(self.title), fontsize=layout.labels + 4, wrap=True)
        axes.set_title(self.unit, fontsize=layout.labels + 1, pad=10)

    def _norm(self, shown: npt.NDArray[np.float64], *, diagonal: bool) -> tuple[Any, str]:
        """A scale on which small values are visible beside large ones."""
        from matplotlib.colors import LogNorm, Normalize, PowerNorm

        found = shown[np.isfinite(shown) & (shown > 0)]
        highest = float(found.max()) if found.size else 1.0
        if self.normalize in ("true", "prediction"):
            return (
                (Normalize(0, 100), "") if diagonal else (PowerNorm(0.5, 0, highest), ", square-root scale")
            )
        return LogNorm(highest * _LOG_RANGE, highest), ", log scale"

    def _annotate(self, axes: Any, values: npt.NDArray[np.float64], images: Sequence[Any]) -> None:
        for row, column in np.argwhere(np.isfinite(values) & (values > 0)).tolist():
            image = images[0 if row == column else 1]
            colour = image.cmap(image.norm(values[row, column]))
            axes.text(
                column,
                row,
                _cell_text(values[row, column], percent=self.normalize != "none"),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if _luminance(colour) < 0.45 else "black",
            ).set_in_layout(False)  # it is within the axes: the layout needs no room for it


def _name_classes(axes: Any, classes: Sequence[str], layout: _Layout) -> None:
    names = [name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…" for name in classes]
    positions = range(0, len(names), layout.step)
    shown = [plain_text(names[position]) for position in positions]
    axes.set_xticks(positions, shown, rotation=90, fontsize=layout.names)
    axes.set_yticks(positions, shown, fontsize=layout.names)
    sides = {"top": layout.every_side, "labeltop": layout.every_side}
    sides |= {"right": layout.every_side, "labelright": layout.every_side}
    axes.tick_params(length=2, pad=2, bottom=True, left=True, **sides)
    axes.set_xlabel("predicted", fontsize=layout.labels + 2)
    axes.set_ylabel("true", fontsize=layout.labels + 2)
    if layout.step > 1:
        return  # grid lines would hide cells of a few pixels
    edges = np.arange(-0.5, len(names))
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="0.8", linewidth=0.4)
    axes.tick_params(which="minor", length=0)


def _cell_text(value: float, *, percent: bool) -> str:
    if percent:
        if value < 0.05:
            return "<0.1"
        return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def _luminance(colour: Sequence[float]) -> float:
    red, green, blue = colour[:3]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

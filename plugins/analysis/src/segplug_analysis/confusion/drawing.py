"""The matrix as a picture that is readable with 3 classes and with 150."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug_analysis.confusion.matrix import Confusion, Normalize
from segplug_analysis.pictures import (
    INK,
    Kind,
    encode,
    font_notes,
    new_figure,
    page_styled,
    page_svg,
    plain_text,
    styled,
)

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


@dataclass(frozen=True)
class _Colours:
    """Two colour scales: in one, the large numbers of the diagonal would make all others pale. Colour-blind
    readers can tell the two apart.
    """

    right: Any
    wrong: Any
    no_pixels: Any
    """Of classes without pixels."""
    edges: Any
    text: str
    """On pale cells; it is white on strong ones."""


def _file_colours() -> _Colours:
    from matplotlib.colors import ListedColormap

    return _Colours("Blues", "Oranges", no_pixels=ListedColormap(["0.88"]), edges="0.8", text="black")


def _page_colours() -> _Colours:
    """Colours that let a page's background through where numbers are small, whether it is light or dark."""
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap

    def scale(red: float, green: float, blue: float) -> LinearSegmentedColormap:
        ends = [(red, green, blue, 0.0), (red, green, blue, 1.0)]
        return LinearSegmentedColormap.from_list("page", ends)

    grey = (0.5, 0.5, 0.5)
    return _Colours(
        scale(0.03, 0.37, 0.70),
        scale(0.80, 0.29, 0.04),
        no_pixels=ListedColormap([(*grey, 0.25)]),
        edges=(*grey, 0.4),
        text=INK,
    )


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
        with styled("white"):
            figure = self._figure(layout)
            self._draw(figure, layout, _file_colours())
            figure.suptitle(plain_text(self.title), fontsize=layout.labels + 4, wrap=True)
            return encode(figure, kind)

    def for_page(self) -> bytes:
        """The picture as SVG in a page's own style, which shows the title."""
        layout = _layout(len(self.confusion.classes))
        with page_styled():
            figure = self._figure(layout)
            self._draw(figure, layout, _page_colours())
            return page_svg(figure)

    def _figure(self, layout: _Layout) -> Figure:
        side = layout.cell * len(self.confusion.classes) + layout.margin
        return new_figure(max(side + 0.6, 6.5), max(side - 0.2, 5.0), fixed_aspect=True)

    def _draw(self, figure: Figure, layout: _Layout, colours: _Colours) -> None:
        axes = figure.subplots()
        values = self.confusion.normalized(self.normalize) * (1 if self.normalize == "none" else 100)
        diagonal = np.eye(len(values), dtype=bool)
        axes.grid(visible=False)
        images = []
        for right, scale_colours, label in (
            (True, colours.right, "correct (diagonal)"),
            (False, colours.wrong, "confused"),
        ):
            shown = np.where(diagonal == right, values, np.nan)
            norm, scale = self._norm(shown, diagonal=right)
            visible = np.ma.masked_invalid(np.maximum(shown, norm.vmin))  # a log axis has no 0
            image = _cells(axes, visible, cmap=scale_colours, norm=norm)
            images.append(image)
            bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, pad=0.015)
            bar.set_label(f"{label}{scale}", fontsize=layout.labels)
            bar.ax.tick_params(labelsize=layout.labels)
        _cells(axes, np.ma.masked_array(np.ones_like(values), np.isfinite(values)), cmap=colours.no_pixels)
        _name_classes(axes, self.confusion.classes, layout, colours)
        if len(values) <= _ANNOTATED:
            self._annotate(axes, values, images, colours)
        # The unit is above the matrix: beside the colour bar of a small matrix it would be too long.
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

    def _annotate(
        self, axes: Any, values: npt.NDArray[np.float64], images: Sequence[Any], colours: _Colours
    ) -> None:
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
                color="white" if _is_strong(colour) else colours.text,
            ).set_in_layout(False)  # it is within the axes: the layout needs no room for it


def _cells(axes: Any, values: Any, **look: Any) -> Any:
    """The cells as shapes, which stay sharp at any size; of many classes, as one image in their place."""
    if len(values) > _ANNOTATED:
        return axes.imshow(values, interpolation="nearest", **look)
    edges = np.arange(len(values) + 1) - 0.5
    cells = axes.pcolormesh(edges, edges, values, **look)
    axes.set(aspect="equal", xlim=(edges[0], edges[-1]), ylim=(edges[-1], edges[0]))
    return cells


def _name_classes(axes: Any, classes: Sequence[str], layout: _Layout, colours: _Colours) -> None:
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
    axes.grid(which="minor", color=colours.edges, linewidth=0.4)
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


def _is_strong(colour: Sequence[float]) -> bool:
    """Whether text on a cell is white: on a dark colour that hides what is behind it."""
    red, green, blue, opacity = colour
    return opacity > 0.7 and 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45

"""The curves as a figure of matplotlib: a panel for each kind of value, with legends beside the panels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug_analysis.logs.curve import is_drawable
from segplug_analysis.logs.series import Series, Unit, panels_of
from segplug_analysis.logs.window import open_window
from segplug_analysis.pictures import (
    Kind,
    LineLook,
    Style,
    encode,
    font_notes,
    line_looks,
    new_figure,
    page_styled,
    page_svg,
    plain_text,
    styled,
)
from segplug_analysis.terminal import Line, line_chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from segplug.results import Screen

__all__ = ["CurvePicture"]

_PANEL_WIDTH, _PANEL_HEIGHT = 7.5, 3.4
_PAGE_WIDTH, _PAGE_HEIGHT = 6.5, 2.7
"""Width of the picture in a page, whose texts are still readable on a phone, and height of its panels."""

_LETTER = 0.085
"""Width of a letter of the legend, in inches."""

_LINE = 0.21
"""Height of a line of the legend, in inches."""

_ROWS, _NAMED = 30, 120
"""Lines in a column of the legend, and curves in a whole legend."""

_PANELS = 20
"""Largest number of panels: formats and viewers limit the height of a picture."""

_LONGEST = 60
"""Largest length of a label in the picture."""

_MARKED = 60
"""Lines with at most this many points have markers, as validations usually do."""


@dataclass(frozen=True)
class CurvePicture:
    """The curves of a report as a picture, in a file or a window."""

    series: tuple[Series, ...]
    title: str
    unit: Unit
    style: Style
    log_y: bool

    def encoded(self, kind: Kind) -> bytes:
        """The picture as the content of a file."""
        with styled(self.style):
            figure = new_figure(*self._size())
            self._draw(figure)
            return encode(figure, kind)

    def for_page(self) -> bytes:
        """The picture as SVG in a page's own style, with the legends above the panels."""
        panels = self._panels()
        heights = [_PAGE_HEIGHT + _rows(members) * _LINE for members in panels.values()]
        with page_styled():
            figure = new_figure(_PAGE_WIDTH, sum(heights) + 0.4)
            self._draw_panels(figure, panels, heights, legend_above=True)
            return page_svg(figure)

    def show(self) -> None:
        """Show the picture in a window until it is closed."""
        with styled(self.style):
            open_window(self._draw, self._size())

    def text(self, screen: Screen) -> str:
        """The picture in characters, one chart for each panel."""
        return "\n\n".join(
            line_chart(
                name, [self._line(one) for one in members], screen, x_label=self.unit, log_y=self.log_y
            )
            for name, members in panels_of(self.series).items()
        )

    def _line(self, one: Series) -> Line:
        points = [
            (x, y)
            for x, y in zip(one.x, one.values, strict=True)
            if is_drawable(y) and (y > 0 or not self.log_y)
        ]
        return Line(one.label, [x for x, _ in points], [y for _, y in points])

    def notes(self) -> list[str]:
        """Notes on what the picture does not show."""
        notes = []
        panels = panels_of(self.series)
        if len(panels) > _PANELS:
            notes.append(f"the picture has only the first {_PANELS} of {len(panels)} panels")
        unnamed = sum(max(len(members) - _NAMED, 0) for members in self._panels().values())
        if unnamed:
            notes.append(
                f"{unnamed} curves of the picture are not in its legend, which has room for {_NAMED}"
            )
        return notes + font_notes([self.title, *(one.label for one in self.series)])

    def _panels(self) -> dict[str, list[Series]]:
        return dict(itertools.islice(panels_of(self.series).items(), _PANELS))

    def _size(self) -> tuple[float, float]:
        """Width and height in inches, with room for the legend beside the curves."""
        panels = self._panels()
        legends = [
            _columns(len(members)) * (max(len(_shortened(one.label)) for one in members) * _LETTER + 0.9)
            for members in panels.values()
        ]
        return _PANEL_WIDTH + max(legends), max(sum(map(_height, panels.values())), 4.2)

    def _draw(self, figure: Figure) -> None:
        panels = self._panels()
        heights = [_height(members) for members in panels.values()]
        self._draw_panels(figure, panels, heights, legend_above=False)
        figure.suptitle(plain_text(self.title))

    def _draw_panels(
        self,
        figure: Figure,
        panels: Mapping[str, Sequence[Series]],
        heights: Sequence[float],
        *,
        legend_above: bool,
    ) -> None:
        all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (name, members) in zip(all_axes, panels.items(), strict=True):
            looks = line_looks(len(members))
            lines = [_draw_line(axes, one, look) for one, look in zip(members, looks, strict=True)]
            axes.set_ylabel(plain_text(f"{_shortened(name)}, log scale" if self.log_y else _shortened(name)))
            axes.margins(x=0.01)
            if self.log_y:
                _make_logarithmic(axes)
            place = (
                {"loc": "lower left", "bbox_to_anchor": (0.0, 1.02), "ncols": _page_columns(members)}
                if legend_above
                else {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "ncols": _columns(len(members))}
            )
            _add_legend(axes, lines[:_NAMED], [_shortened(one.label) for one in members[:_NAMED]], place)
        all_axes[-1].set_xlabel(self.unit)


def _page_columns(members: Sequence[Series]) -> int:
    """Columns of a legend that is as wide as a page's picture."""
    longest = max(len(_shortened(one.label)) for one in members)
    return max(int((_PAGE_WIDTH - 0.8) / (longest * _LETTER + 0.7)), 1)


def _rows(members: Sequence[Series]) -> int:
    return math.ceil(min(len(members), _NAMED) / _page_columns(members))


def _columns(curves: int) -> int:
    return math.ceil(min(curves, _NAMED) / _ROWS)


def _height(members: Sequence[Series]) -> float:
    return max(_PANEL_HEIGHT, min(len(members), _ROWS) * _LINE + 0.5)


def _shortened(label: str) -> str:
    """A long label without its middle: the run is at the start, the key at the end."""
    if len(label) <= _LONGEST:
        return label
    half = _LONGEST // 2
    return f"{label[: half - 1]}…{label[-half:]}"


def _add_legend(axes: Any, lines: Sequence[Any], labels: Sequence[str], place: Mapping[str, Any]) -> None:
    legend = axes.legend(lines, ["-"] * len(lines), borderaxespad=0.0, frameon=False, **place)
    # Set afterwards: matplotlib leaves out lines whose label begins with an underscore.
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(plain_text(label))


def _make_logarithmic(axes: Any) -> None:
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))


def _draw_line(axes: Any, one: Series, look: LineLook) -> Any:
    few = len(one.parts) <= _MARKED
    line = {"color": look.color, "linestyle": look.linestyle, "alpha": 0.45 if one.replaced else 1.0}
    if one.width > 1:
        low, high = [part.low for part in one.parts], [part.high for part in one.parts]
        axes.fill_between(one.x, low, high, color=look.color, alpha=0.15, linewidth=0)
    if one.smooth:
        axes.plot(one.x, one.means, color=look.color, linewidth=0.8, alpha=0.35)
    (drawn,) = axes.plot(
        one.x,
        one.values,
        **line,
        linewidth=1.0 if one.replaced else 1.6,
        marker=look.marker if few else None,
        markersize=4,
    )
    return drawn

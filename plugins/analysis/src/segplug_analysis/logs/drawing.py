"""The curves as a matplotlib figure: a panel for each kind of value, legends beside the panels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug_analysis.logs.chart import text_chart
from segplug_analysis.logs.series import Series, Unit, panels_of
from segplug_analysis.logs.window import open_window
from segplug_analysis.pictures import Kind, LineLook, Style, encode, line_looks, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CurvePicture"]

_PANEL_WIDTH, _PANEL_HEIGHT = 7.5, 3.4
_LETTER = 0.085
"""Width of a letter of the legend, in inches."""

_MARKED = 60
"""Lines with at most this many points get markers: those of validations, usually."""


@dataclass(frozen=True)
class CurvePicture:
    """The curves of a report, to be drawn into a file or a window."""

    series: tuple[Series, ...]
    title: str
    unit: Unit
    style: Style
    log_y: bool

    def encoded(self, kind: Kind) -> bytes:
        """The picture as a whole file."""
        with styled(self.style):
            figure = new_figure(*self._size())
            self._draw(figure)
            return encode(figure, kind)

    def show(self) -> None:
        """The picture in a window, until that is closed."""
        with styled(self.style):
            open_window(self._draw, self._size())

    def text(self) -> str:
        """The picture in characters."""
        panels = panels_of(self.series).items()
        return "\n\n".join(text_chart(name, one, self.unit, log_y=self.log_y) for name, one in panels)

    def _size(self) -> tuple[float, float]:
        """Width and height in inches: the legend is beside the curves, never over them."""
        legend = max(len(one.label) for one in self.series) * _LETTER + 0.9
        return _PANEL_WIDTH + legend, max(_PANEL_HEIGHT * len(panels_of(self.series)), 4.2)

    def _draw(self, figure: Figure) -> None:
        panels = panels_of(self.series)
        all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, members) in zip(all_axes, panels.items(), strict=True):
            for one, look in zip(members, line_looks(len(members)), strict=True):
                _draw_line(axes, one, look)
            axes.set_ylabel(f"{name}, log scale" if self.log_y else name)
            axes.margins(x=0.01)
            if self.log_y:
                _make_logarithmic(axes)
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)
        all_axes[-1].set_xlabel(self.unit)
        figure.suptitle(self.title)


def _make_logarithmic(axes: Any) -> None:
    from matplotlib.ticker import LogFormatter

    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))


def _draw_line(axes: Any, one: Series, look: LineLook) -> None:
    few = len(one.parts) <= _MARKED
    line = {"color": look.color, "linestyle": look.linestyle}
    if one.width > 1:
        low, high = [part.low for part in one.parts], [part.high for part in one.parts]
        axes.fill_between(one.x, low, high, color=look.color, alpha=0.15, linewidth=0)
    if one.smooth:
        axes.plot(one.x, one.means, color=look.color, linewidth=0.8, alpha=0.35)
    axes.plot(
        one.x,
        one.values,
        **line,
        linewidth=1.6,
        marker=look.marker if few else None,
        markersize=4,
        label=one.label,
    )

"""The medians as a bar chart, as a picture and in characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segplug.results import Figure
from segplug_analysis import terminal

__all__ = ["Bar", "bar_chart"]

_TITLE = "Milliseconds of one run: median, and line to the 95th percentile"
_AXIS = "ms for one run"

_LONGEST_NAME = 80


@dataclass(frozen=True)
class Bar:
    """One candidate's times, in milliseconds."""

    name: str
    median: float
    p95: float


def bar_chart(shown: Sequence[Bar]) -> Figure:
    """The figure of a benchmark."""
    slowest = max(shown, key=lambda bar: bar.median)
    fastest = min(shown, key=lambda bar: bar.median)
    return Figure(
        title=_TITLE,
        draw=lambda: _draw(shown),
        media_type="image/svg+xml",
        description=(
            f"{len(shown)} bars, one for each candidate: the fastest is {fastest.name} with a median of "
            f"{fastest.median:.3g} ms, the slowest {slowest.name} with {slowest.median:.3g} ms"
        ),
        text=lambda screen: terminal.bar_chart(
            _TITLE, [terminal.Bar(bar.name, bar.median, bar.p95) for bar in shown], screen, x_label=_AXIS
        ),
    )


def _draw(shown: Sequence[Bar]) -> bytes:
    from segplug_analysis.pictures import INK, line_looks, new_figure, page_styled, page_svg, plain_text

    with page_styled():
        figure = new_figure(6.5, 0.9 + 0.55 * len(shown))
        axes = figure.add_subplot()
        places = range(len(shown))
        axes.barh(
            places,
            [bar.median for bar in shown],
            height=0.4,
            color=line_looks(1)[0].color,
            zorder=2,
            xerr=[[0] * len(shown), [bar.p95 - bar.median for bar in shown]],
            error_kw={"ecolor": INK, "capsize": 3, "elinewidth": 1.2, "zorder": 3},
        )
        longest = max(bar.p95 for bar in shown)
        for place, bar in zip(places, shown, strict=True):
            # Above its bar a name has the whole width, on a phone, too.
            axes.text(0, place - 0.28, plain_text(_shortened(bar.name)), va="bottom", fontsize=10)
            axes.text(bar.p95 + longest * 0.02, place, f"{bar.median:.4g}", va="center", fontsize=10)
        axes.set_xlim(0, longest * 1.15)
        axes.set_ylim(len(shown) - 0.6, -0.85)
        axes.set_yticks([])
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(_AXIS)
        return page_svg(figure)


def _shortened(name: str) -> str:
    """A long name without its beginning: the backend is at its end."""
    return name if len(name) <= _LONGEST_NAME else "\u2026" + name[-(_LONGEST_NAME - 1) :]

"""The medians as a bar chart, as a picture and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segplug.results import Figure

__all__ = ["Bar", "bar_chart"]

_TITLE = "Milliseconds of one run: median, and line to the 95th percentile"

_NAME_WIDTH = 44
_BAR_WIDTH = 50


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
        description=(
            f"{len(shown)} bars, one for each candidate: the fastest is {fastest.name} with a median of "
            f"{fastest.median:.3g} ms, the slowest {slowest.name} with {slowest.median:.3g} ms"
        ),
        text=_as_text(shown),
    )


def _draw(shown: Sequence[Bar]) -> bytes:
    from segplug_analysis.pictures import encode, line_looks, new_figure, plain_text, styled

    colour = line_looks(1)[0].color
    with styled("whitegrid"):
        figure = new_figure(9, 1.2 + 0.5 * len(shown))
        axes = figure.add_subplot()
        places = range(len(shown))
        axes.barh(
            places,
            [bar.median for bar in shown],
            height=0.6,
            color=colour,
            zorder=2,
            xerr=[[0] * len(shown), [bar.p95 - bar.median for bar in shown]],
            error_kw={"ecolor": "#222222", "capsize": 4, "elinewidth": 1.4, "zorder": 3},
        )
        longest = max(bar.p95 for bar in shown)
        for place, bar in zip(places, shown, strict=True):
            axes.text(bar.p95 + longest * 0.015, place, f"{bar.median:.4g}", va="center", fontsize=9)
        axes.set_xlim(0, longest * 1.12)
        axes.set_yticks(list(places), [plain_text(_shortened(bar.name)) for bar in shown])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("ms for one run (number: median; line: to the 95th percentile)")
        return encode(figure, "png")


def _as_text(shown: Sequence[Bar]) -> str:
    longest = max(bar.p95 for bar in shown)
    width = min(max(len(bar.name) for bar in shown), _NAME_WIDTH)
    lines = [_TITLE]
    for bar in shown:
        solid = max(round(bar.median / longest * _BAR_WIDTH), 1)
        whisker = round(bar.p95 / longest * _BAR_WIDTH) - solid
        line = "\u2588" * solid + ("\u2500" * (whisker - 1) + "\u2524" if whisker > 0 else "")
        lines.append(f"{_shortened(bar.name):<{width}}  {line:<{_BAR_WIDTH}}  {bar.median:.4g}")
    return "\n".join(lines)


def _shortened(name: str) -> str:
    """A long name without its beginning: the backend is at its end."""
    return name if len(name) <= _NAME_WIDTH else "\u2026" + name[-(_NAME_WIDTH - 1) :]

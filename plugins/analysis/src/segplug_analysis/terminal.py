"""Charts in characters, drawn by plotext: lines and bars with axes, at a terminal's width."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.text import counted, printable_line
from segplug_analysis.pictures import line_looks

if TYPE_CHECKING:
    from segplug.results import Screen

__all__ = ["Bar", "Line", "bar_chart", "line_chart"]

_WIDEST = 120
"""A log has no width of its own, and longer lines are hard to follow."""

_HEIGHT = 20
_COLOURS = 10
"""How many lines have a colour of their own; of more, each is drawn with a letter."""

_LETTERS = string.ascii_lowercase + string.ascii_uppercase + string.digits

_LONGEST_NAME = 44

_FINE = "braille"
"""plotext's name of its finest marks, eight points in a character."""


@dataclass(frozen=True)
class Line:
    """One line of a chart. Its values are finite."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Bar:
    """One bar, and the end of the thin line that goes on from it."""

    name: str
    value: float
    end: float


def line_chart(
    title: str, lines: Sequence[Line], screen: Screen, *, x_label: str, log_y: bool = False
) -> str:
    """All lines in one chart, with axes, and a legend below it.

    On a screen with colours up to ten lines differ by colour; else each is drawn with a letter of its own.
    """
    named = lines[: len(_LETTERS)]
    if not any(line.x for line in named):
        return f"{printable_line(title)}: nothing to draw"
    figure = _empty_figure()
    figure.plot_size(min(screen.columns, _WIDEST), _HEIGHT)
    figure.title(printable_line(title) + (", log scale" if log_y else ""))
    figure.label(x_label)
    in_colour = screen.colour and len(named) <= _COLOURS
    legend = []
    for line, letter, look in zip(named, _LETTERS, line_looks(len(named)), strict=False):
        symbol = _FINE if in_colour or len(named) == 1 else letter
        pixel = _rgb(look.color) if screen.colour else None
        if line.x:
            values = [math.log10(y) for y in line.y] if log_y else line.y
            figure.draw(figure.signal(line.x, values, marker=_marker(symbol, pixel)).lines())
        sign = _coloured("━━" if symbol == _FINE else letter, pixel)
        legend.append(f"  {sign} {printable_line(line.label)}")
    _mark_axes(figure, named, log_y)
    drawn = _finished(figure, colour=screen.colour)
    if more := len(lines) - len(named):
        legend.append(f"  not drawn here: {counted(more, 'more curve')}")
    return "\n".join([drawn, *legend])


def bar_chart(title: str, bars: Sequence[Bar], screen: Screen, *, x_label: str) -> str:
    """A row for each bar, the first at the top, with its value behind it."""
    figure = _empty_figure()
    figure.plot_size(min(screen.columns, _WIDEST), 2 * len(bars) + 5)
    figure.title(printable_line(title))
    figure.label(x_label)
    pixel = _rgb(line_looks(1)[0].color) if screen.colour else None
    longest = max(max(bar.end, bar.value) for bar in bars) or 1.0
    places = range(len(bars), 0, -1)
    for bar, place in zip(bars, places, strict=True):
        if bar.end > bar.value:
            figure.draw(figure.signal([bar.value, bar.end], [place] * 2, marker=_marker("─", pixel)).lines())
        figure.draw(figure.signal([0, bar.value], [place] * 2, marker=_marker("█", pixel)).lines())
        figure.draw(figure.text(max(bar.end, bar.value) + longest * 0.02, place, f"{bar.value:.4g}"))
    figure.ruler("y").lim(0.5, len(bars) + 0.5)
    figure.ruler("y").ticks(list(places), [_end_of(printable_line(bar.name)) for bar in bars])
    ticks = _round_steps(0, longest)
    figure.ruler("x").lim(0, longest * 1.15)
    figure.ruler("x").ticks(ticks, [f"{tick:.6g}" for tick in ticks])
    return _finished(figure, colour=screen.colour)


def _empty_figure() -> Any:
    import plotext

    plotext.terminal.limit(False, False)  # the screen's size is known here, and may be that of a log
    figure = plotext.figure  # one for the whole process
    figure.clear()
    figure.theme("colorless")
    return figure


def _finished(figure: Any, *, colour: bool) -> str:
    text: str = figure.build().string(colorless=not colour)
    figure.clear()
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def _marker(symbol: str, pixel: tuple[int, ...] | None) -> Any:
    import plotext

    return plotext.marker(symbol, pixel=pixel) if pixel else plotext.marker(symbol)


def _coloured(text: str, pixel: tuple[int, ...] | None) -> str:
    return "\x1b[38;2;{};{};{}m{}\x1b[0m".format(*pixel, text) if pixel else text


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def _mark_axes(figure: Any, lines: Sequence[Line], log_y: bool) -> None:
    x = [value for line in lines for value in line.x]
    y = [value for line in lines for value in line.y]
    ticks = _round_steps(min(x), max(x))
    figure.ruler("x").ticks(ticks, [f"{tick:.6g}" for tick in ticks])
    if log_y:
        low, high = math.log10(min(y)), math.log10(max(y))
        marks = [power for power in _round_steps(low, high) if power == round(power)]
        marks = marks if len(marks) > 1 else [low, high]
        figure.ruler("y").ticks(marks, [f"{10**mark:.3g}" for mark in marks])
    else:
        marks = _round_steps(min(y), max(y))
        figure.ruler("y").ticks(marks, [f"{mark:.6g}" for mark in marks])


def _round_steps(low: float, high: float, most: int = 6) -> list[float]:
    """Up to ``most`` round numbers from ``low`` to ``high``, in steps of 1, 2 or 5; the ends if none fit."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20, 50):
        step = factor * power
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < most:
            return [number * step for number in range(first, last + 1)] if last > first else [low, high]
    return [low, high]


def _end_of(name: str) -> str:
    """A long name without its beginning: the backend is at its end."""
    return name if len(name) <= _LONGEST_NAME else "\u2026" + name[-(_LONGEST_NAME - 1) :]

"""The picture of the breadth, as SVG: from the models at the top to where they run at the bottom.

It is narrow, so that its texts can be read on a phone, and has a background of its own, so that they
can be read on any page. As a file it follows the reader's light or dark setting, and has plain colours for
programs that know no style rules; on a page of segplug's it takes the page's colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from types import MappingProxyType

from scripts.breadth.facts import ECOSYSTEMS, FORMATS, RUNTIMES, SERVERS, Box, Ecosystem, counts_of

__all__ = ["WIDTH", "describe", "draw"]

WIDTH = 400
"""Units of the drawing, about a pixel of a phone each."""

SHOWN_AT = 460
"""Its width in pixels where there is room."""

_MARGIN = 14
_GAP = 8
_LINE = 27
"""From one model to the next."""
_ARROW = 22

_LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "back": "#ffffff",
        "fore": "#1d2127",
        "dim": "#5c6570",
        "line": "#b9c1ca",
        "soft": "#f3f5f7",
        "accent": "#0b62b8",
    }
)
_DARK: Mapping[str, str] = MappingProxyType(
    {
        "back": "#15181c",
        "fore": "#e3e6ea",
        "dim": "#9aa4af",
        "line": "#4a525c",
        "soft": "#1f242a",
        "accent": "#78b7f5",
    }
)
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', Arial, sans-serif"

NOTE = "Dashed: files are made and checked, but not run there yet."


def agreement() -> str:
    """How many exports of all ecosystems were measured, and how many passed."""
    counts = [counts_of(kind.rows) for kind in ECOSYSTEMS if kind.rows]
    measured = sum(sum(one.measured) for one in counts)
    passed = sum(sum(one.passed) for one in counts)
    return f"{passed} of {measured} measured exports agree with the network"


def held(kind: Ecosystem) -> str:
    """What there is of an ecosystem: ``45 families``."""
    return f"{counts_of(kind.rows).kinds} {kind.holds}" if kind.rows else kind.holds


def describe() -> str:
    """What the picture shows, for people who cannot see it."""
    models = "; ".join(f"{kind.name} ({held(kind)})" for kind in ECOSYSTEMS)
    return (
        f"Models come from {models}. segplug exports, verifies, scores and serves them: {agreement()}. "
        f"Formats: {_listed(FORMATS)}. They run in {_listed(RUNTIMES)}. "
        f"Servers: {_listed(SERVERS)}. {NOTE} Dashed are: {', '.join(box.name for box in _dashed())}."
    )


def _dashed() -> Iterator[Box]:
    return (box for box in (*FORMATS, *RUNTIMES, *SERVERS) if not box.was_run)


def _listed(boxes: Iterable[Box]) -> str:
    return ", ".join(f"{box.name} ({box.detail})" if box.detail else box.name for box in boxes)


def draw(*, for_page: bool = False) -> str:
    """The drawing.

    Args:
        for_page: Whether it becomes a part of a page of segplug's, whose colours it then takes.
    """
    return _Drawing(for_page).text()


class _Drawing:
    """Puts the bands below each other."""

    def __init__(self, for_page: bool) -> None:
        self._for_page = for_page
        self._parts: list[str] = []
        self._bottom = float(_MARGIN)

    def text(self) -> str:
        self._models()
        self._arrow()
        self._segplug()
        self._arrow()
        self._boxes("exported as", FORMATS)
        self._arrow()
        self._boxes("run by", RUNTIMES)
        self._space(6)
        self._boxes("served by", SERVERS)
        self._space(17)
        self._words(_MARGIN, self._bottom, NOTE, "dim", 11)
        self._space(_MARGIN - 3)
        height = round(self._bottom)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{SHOWN_AT}px" viewBox="0 0 {WIDTH} {height}" '
            f'role="img" aria-labelledby="title description" font-family="{_FONT}">'
        )
        back = self._rect(0.5, 0.5, WIDTH - 1, height - 1, fill="back", stroke="line", radius=8)
        lines = (head, *self._texts(), *self._rules(), back, *self._parts, "</svg>")
        return "\n".join(lines) + "\n"

    def _texts(self) -> Iterator[str]:
        if not self._for_page:  # a page has a caption and the description as they are
            yield '<title id="title">What segplug takes, and where it runs</title>'
            yield f'<desc id="description">{escape(describe())}</desc>'

    def _rules(self) -> Iterator[str]:
        if self._for_page:
            return
        yield "<style>"
        yield "@media screen and (prefers-color-scheme: dark) {"
        for name, colour in _DARK.items():
            yield f".f-{name} {{ fill: {colour} }} .s-{name} {{ stroke: {colour} }}"
        yield "}"
        yield "</style>"

    # The bands.

    def _models(self) -> None:
        top = self._bottom
        height = len(ECOSYSTEMS) * _LINE + 6
        self._add(self._rect(_MARGIN, top, WIDTH - 2 * _MARGIN, height, fill="soft", stroke="line"))
        for number, kind in enumerate(ECOSYSTEMS):
            base = top + 3 + number * _LINE + 18
            self._words(_MARGIN + 10, base, kind.name, "fore", 13, bold=True)
            self._words(WIDTH - _MARGIN - 10, base, held(kind), "dim", 12, anchor="end")
        self._space(height)

    def _segplug(self) -> None:
        top, height = self._bottom, 66
        self._add(self._rect(_MARGIN, top, WIDTH - 2 * _MARGIN, height, fill="accent"))
        middle = WIDTH / 2
        lines = (
            ("segplug", 15, True),
            ("predict, export, verify, score, serve", 12, False),
            (agreement(), 11, False),
        )
        for base, (words, size, bold) in zip((20, 38, 55), lines, strict=True):
            self._words(middle, top + base, words, "back", size, bold=bold, anchor="middle")
        self._space(height)

    def _boxes(self, title: str, boxes: tuple[Box, ...]) -> None:
        self._space(14)
        self._words(_MARGIN, self._bottom - 4, title, "dim", 12)
        top, height = self._bottom, 42
        width = (WIDTH - 2 * _MARGIN - (len(boxes) - 1) * _GAP) / len(boxes)
        for number, box in enumerate(boxes):
            left = _MARGIN + number * (width + _GAP)
            stroke = "line" if box.was_run else "dim"
            self._add(
                self._rect(left, top, width, height, fill="soft", stroke=stroke, is_dashed=not box.was_run)
            )
            middle = left + width / 2
            first = top + (18 if box.detail else 26)
            self._words(middle, first, box.name, "fore", 13, bold=True, anchor="middle")
            if box.detail:
                self._words(middle, top + 33, box.detail, "dim", 11, anchor="middle")
        self._space(height)

    def _arrow(self) -> None:
        top, middle = self._bottom + 4, WIDTH / 2
        tip = top + _ARROW - 8
        lines = f"M{_n(middle)} {_n(top)}V{_n(tip)}M{_n(middle - 5)} {_n(tip - 5)}l5 5l5 -5"
        self._add(f'<path d="{lines}" fill="none" stroke-width="1.5"{self._colours(stroke="dim")}/>')
        self._space(_ARROW)

    # What they are drawn with.

    def _add(self, part: str) -> None:
        self._parts.append(part)

    def _space(self, height: float) -> None:
        self._bottom += height

    def _rect(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        *,
        fill: str,
        stroke: str = "",
        radius: int = 4,
        is_dashed: bool = False,
    ) -> str:
        place = f'x="{_n(left)}" y="{_n(top)}" width="{_n(width)}" height="{_n(height)}" rx="{radius}"'
        dashes = ' stroke-dasharray="4 3"' if is_dashed else ""
        return f"<rect {place}{dashes}{self._colours(fill=fill, stroke=stroke)}/>"

    def _words(
        self,
        x: float,
        y: float,
        words: str,
        colour: str,
        size: int,
        *,
        bold: bool = False,
        anchor: str = "start",
    ) -> None:
        weight = ' font-weight="600"' if bold else ""
        place = f'x="{_n(x)}" y="{_n(y)}" font-size="{size}" text-anchor="{anchor}"{weight}'
        self._add(f"<text {place}{self._colours(fill=colour)}>{escape(words)}</text>")

    def _colours(self, **names: str) -> str:
        """The attributes for ``fill`` and ``stroke``, by the names of their colours."""
        named = {what: name for what, name in names.items() if name}
        if self._for_page:
            return f' style="{"; ".join(f"{what}: var(--{name})" for what, name in named.items())}"'
        colours = "".join(f' {what}="{_LIGHT[name]}"' for what, name in named.items())
        return f'{colours} class="{" ".join(f"{what[0]}-{name}" for what, name in named.items())}"'


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")

"""What objects show in a notebook: a small table of facts, and a legend. Every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from segplug.legend import LegendEntry
from segplug.text import printable

__all__ = ["Facts", "facts_html"]

Facts = tuple[tuple[str, tuple[str, ...]], ...]
"""What something is, in words: a name for each fact, and its lines."""

_HEAD = "text-align:left;vertical-align:top;white-space:nowrap;padding-right:1em"
_CELL = "text-align:left;overflow-wrap:anywhere"
_MOST_NAMES = 60
"""How many labels a legend shows."""


def facts_html(title: str, facts: Facts, legend: Sequence[LegendEntry] = ()) -> str:
    """A fragment of HTML that needs no style sheet; it takes the colours of the page around it."""
    rows = "".join(
        f'<tr><th style="{_HEAD}">{_text(what)}</th>'
        f'<td style="{_CELL}">{"<br>".join(map(_text, lines))}</td></tr>'
        for what, lines in facts
    )
    names = "".join(_entry(entry) for entry in legend[:_MOST_NAMES])
    more = f"<span>and {len(legend) - _MOST_NAMES} more</span>" if len(legend) > _MOST_NAMES else ""
    shown = f'<p style="line-height:1.8">{names}{more}</p>' if names else ""
    return f"<div><p><strong>{_text(title)}</strong></p><table>{rows}</table>{shown}</div>"


def _entry(entry: LegendEntry) -> str:
    block = ""
    if entry.painted:
        rgb = ",".join(map(str, entry.colour))
        block = (
            f'<span style="display:inline-block;width:1em;height:1em;vertical-align:-0.15em;'
            f'border:1px solid #888;background:rgb({rgb})"></span> '
        )
    return f'<span style="display:inline-block;margin-right:1.2em">{block}{_text(entry.name)}</span>'


def _text(text: str) -> str:
    return escape(printable(text))

"""A page as plain data, and the page's HTML: one file that fetches nothing, and is whole without script."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

from segplug.dates import now
from segplug.reports.code_html import code_html
from segplug.reports.markup import escaped, figure_html, picture_html, table_html
from segplug.results import Figure, Table
from segplug.version import __version__

if TYPE_CHECKING:
    from segplug.legend import LegendEntry

__all__ = [
    "Bullets",
    "Code",
    "Failure",
    "Legend",
    "Page",
    "Part",
    "Picture",
    "Pictures",
    "Prose",
    "Section",
    "render",
]


@dataclass(frozen=True)
class Prose:
    """Text in paragraphs; an empty line ends one. What is between backquotes is code."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Sentences that belong together, as a list. What is between backquotes is code."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A sentence that nobody must miss: something failed."""

    text: str


@dataclass(frozen=True)
class Code:
    """Text with its line ends kept, coloured by its language."""

    text: str
    language: str = ""
    """A name that pygments knows: ``python``, ``console``, ``json``. Empty or unknown: not coloured."""


@dataclass(frozen=True)
class Picture:
    """A photograph or a painted image, as the bytes of a file."""

    title: str
    """The caption."""
    content: bytes
    media_type: Literal["image/png", "image/jpeg", "image/webp", "image/svg+xml"] = "image/png"
    alt: str = ""
    """What it shows, for people who cannot see it. Empty: the caption says it."""


@dataclass(frozen=True)
class Pictures:
    """Pictures beside each other; each opens in its full size."""

    items: tuple[Picture, ...]
    are_one_row: bool = False
    """Whether they are to be compared: four share a row, two on a phone."""


@dataclass(frozen=True)
class Legend:
    """The colours of classes, with their shares where they are known."""

    entries: tuple[LegendEntry, ...]


Part = Prose | Bullets | Failure | Code | Table | Figure | Pictures | Legend
"""What a section is made of."""


@dataclass(frozen=True)
class Section:
    """Parts under a heading; an empty title has none."""

    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Page:
    """A page."""

    title: str
    """One line."""
    lead: str = ""
    """What the page is about, in a few sentences; an empty line ends a paragraph."""
    command: str = ""
    """The command that made it, of :func:`segplug.reports.command_line.command_line`. Empty: none."""
    sections: tuple[Section, ...] = ()


def render(page: Page) -> str:
    """The page's HTML. Every figure is drawn for it; every text is escaped.

    The foot has the version, the date and the command. ``SOURCE_DATE_EPOCH`` sets the date.
    """
    return "\n".join(_lines(page)) + "\n"


def _lines(page: Page) -> Iterator[str]:
    style, script = _asset("page.css"), _asset("page.js")
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escaped(page.title)}</title>"
    yield f"<style>{style}</style></head><body>"
    yield f"<header><h1>{escaped(page.title)}</h1>"
    yield from _paragraphs(page.lead, ' class="lead"')
    yield "</header><main>"
    numbers = itertools.count(1)
    for section in page.sections:
        yield "<section>"
        if section.title:
            yield f"<h2>{escaped(section.title)}</h2>"
        for part in section.parts:
            yield from _part(part, numbers)
        yield "</section>"
    yield "</main>"
    yield from _foot(page.command)
    yield f"<script>{script}</script></body></html>"


def _policy(script: str) -> str:
    """Let a browser run no script but the page's own, and fetch nothing, whatever the texts hold."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _asset(name: str) -> str:
    return (resources.files("segplug.reports") / name).read_text(encoding="utf-8").strip()


def _part(part: Part, numbers: Iterator[int]) -> Iterator[str]:
    """The HTML of a part; ``numbers`` gives each figure and picture a number of its own."""
    if isinstance(part, Prose):
        yield from _paragraphs(part.text)
    elif isinstance(part, Bullets):
        yield "<ul>"
        yield from (f"<li>{_sentence(item)}</li>" for item in part.items)
        yield "</ul>"
    elif isinstance(part, Failure):
        yield f'<p class="failure"><strong>Failed:</strong> {escaped(part.text)}</p>'
    elif isinstance(part, Code):
        yield f'<pre class="code" tabindex="0"><code>{code_html(part.text, part.language)}</code></pre>'
    elif isinstance(part, Table):
        yield from table_html(part)
    elif isinstance(part, Figure):
        yield from figure_html(part, f"figure-{next(numbers)}")
    elif isinstance(part, Pictures):
        yield f'<div class="pictures{" row" if part.are_one_row else ""}">'
        for item in part.items:
            alt = item.alt or item.title
            yield from picture_html(
                item.title, item.content, item.media_type, alt, f"picture-{next(numbers)}"
            )
        yield "</div>"
    else:
        yield from _legend(part)


def _paragraphs(text: str, mark: str = "") -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            yield f"<p{mark}>{_sentence(paragraph.strip())}</p>"


def _sentence(text: str) -> str:
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escaped(text))


def _legend(legend: Legend) -> Iterator[str]:
    yield '<ul class="legend">'
    for entry in legend.entries:
        colour = "rgb({}, {}, {})".format(*entry.colour) if entry.painted else "none"
        share = "" if entry.share is None else f' <span class="share">{entry.share:.1%}</span>'
        name = escaped(entry.name if entry.painted else f"{entry.name} (not painted)")
        yield f'<li><i style="background: {colour}"></i>{name}{share}</li>'
    yield "</ul>"


def _foot(command: str) -> Iterator[str]:
    written = now()
    yield "<footer>"
    yield (
        f"<p>Made by segplug {escaped(__version__)} on "
        f'<time datetime="{written.isoformat()}">{written.isoformat(sep=" ")}</time>'
        f"{' with' if command else '.'}</p>"
    )
    if command:
        # Lines end between words only, also where a word has hyphens.
        words = " ".join(f"<span>{escaped(word)}</span>" for word in command.split(" "))
        yield f'<pre class="command"><code>{words}</code></pre>'
    yield "</footer>"

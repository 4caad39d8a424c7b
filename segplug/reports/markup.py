"""The HTML of tables, figures and pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from typing import Any

from segplug.reports.cells import cell_text, is_numeric_column
from segplug.reports.inline_svg import inline_svg
from segplug.results import Figure, Table
from segplug.text import printable

__all__ = ["escaped", "figure_html", "picture_html", "table_html"]

_LONG = 24
"""A text of more characters may be broken; shorter ones stay on one line."""
_MANY = 20
"""The script adds a search to tables of more rows."""


def escaped(text: str) -> str:
    """Text that is neither markup nor an attribute's end, and does not move or hide the text around it."""
    return escape(printable(text))


def table_html(table: Table) -> Iterator[str]:
    """A table that scrolls sideways where it is too wide; the page's script makes it sortable.

    One with filters scrolls in both ways below its headings, and the script makes a choice for each of them.
    """
    positions = range(len(table.columns))
    numeric = [is_numeric_column(table.rows, position) for position in positions]
    name = escaped(table.title or ", ".join(table.columns))
    is_searched = table.filters or len(table.rows) > _MANY
    kind = "scroll tall" if table.filters else "scroll"
    yield f'<div class="{kind}" tabindex="0" role="region" aria-label="{name}">'
    yield f"<table{' data-search' if is_searched else ''}>"
    if table.title:
        yield f"<caption>{escaped(table.title)}</caption>"
    headings = (
        f'<th scope="col"{_marks(is_number, column)}{" data-filter" if column in table.filters else ""}>'
        f"{escaped(column)}</th>"
        for column, is_number in zip(table.columns, numeric, strict=True)
    )
    yield f"<thead><tr>{''.join(headings)}</tr></thead><tbody>"
    for row in table.rows:
        cells = (_cell(value, is_number) for value, is_number in zip(row, numeric, strict=True))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _cell(value: Any, is_number: bool) -> str:
    text = cell_text(value)
    # The exact number, by which the script sorts: the text is rounded.
    exact = f' data-value="{float(value)!r}"' if is_number and value is not None else ""
    return f"<td{_marks(is_number, text)}{exact}>{escaped(text)}</td>"


def _marks(is_number: bool, text: str) -> str:
    if is_number:
        return ' class="n"'
    return ' class="long"' if len(text) > _LONG else ""


def figure_html(figure: Figure, name: str) -> Iterator[str]:
    """A chart or a picture with its caption; ``name`` is an id that nothing else on the page has."""
    content = figure.draw()
    alt = figure.description or figure.title
    drawing = inline_svg(content, name, alt) if figure.media_type == "image/svg+xml" else None
    if drawing is None:
        yield from picture_html(figure.title, content, figure.media_type, alt, name)
        return
    yield f'<figure class="chart"><div class="scroll">{drawing}</div>{_caption(figure.title)}</figure>'


def picture_html(title: str, content: bytes, media_type: str, alt: str, name: str) -> Iterator[str]:
    """A picture that fits its place, and fills the window while it is the target of the page's address.

    That needs no script, and the picture only once: browsers open no ``data:`` address as a page.
    """
    source = f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
    label = escaped(title or alt)
    yield f'<figure class="picture" id="{name}">'
    yield (
        f'<a class="open" href="#{name}" aria-label="Open in full size: {label}">'
        f'<img src="{source}" alt="{escaped(alt)}"></a>'
    )
    yield f'<a class="close" href="#closed" aria-label="Close: {label}">Close</a>'
    yield f"{_caption(title)}</figure>"


def _caption(title: str) -> str:
    return f"<figcaption>{escaped(title)}</figcaption>" if title else ""

"""Write a report as one HTML page with its pictures inside."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path

from segplug.files import write_text
from segplug.reports.cells import cell_text, is_numeric_column
from segplug.results import AnalyzeReport, Figure, Table
from segplug.text import printable

__all__ = ["as_page", "write_page"]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: left; }
td { white-space: pre-wrap; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tbody tr:hover { background: var(--soft); }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; background: #fff; }
figcaption { font-size: .9rem; opacity: .8; }
pre { overflow-x: auto; padding: 1rem; background: var(--soft); font-size: .85rem; }
""".strip()


def write_page(report: AnalyzeReport, path: Path, *, force: bool = False) -> None:
    """Write the page whole or not at all; raises as :func:`segplug.files.writing` does."""
    write_text(path, as_page(report), force=force)


def as_page(report: AnalyzeReport) -> str:
    """The page's HTML. Every figure is drawn for it."""
    return "\n".join(_lines(report)) + "\n"


def _escaped(text: str) -> str:
    """Text that is neither markup nor an attribute's end, and does not move or hide the text around it."""
    return escape(printable(text))


def _lines(report: AnalyzeReport) -> Iterator[str]:
    title = _escaped(report.title)
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>"
    yield f"<style>{_STYLE}</style></head><body>"
    yield f"<h1>{title}</h1>"
    for failure in report.failures:
        yield f'<p class="failure">Failed: {_escaped(failure)}</p>'
    if report.text:
        yield f"<pre>{_escaped(report.text)}</pre>"
    for figure in report.figures:
        yield from _figure(figure)
    for table in report.tables:
        if not table.only_csv:
            yield from _table(table)
    if report.notes:
        yield "<h2>Notes</h2><ul>"
        yield from (f"<li>{_escaped(note)}</li>" for note in report.notes)
        yield "</ul>"
    yield "</body></html>"


def _figure(figure: Figure) -> Iterator[str]:
    content = base64.b64encode(figure.draw()).decode("ascii")
    alt = _escaped(figure.description or figure.title)
    yield f'<figure><img src="data:{figure.media_type};base64,{content}" alt="{alt}">'
    yield f"<figcaption>{_escaped(figure.title)}</figcaption></figure>"


def _table(table: Table) -> Iterator[str]:
    if table.title:
        yield f"<h2>{_escaped(table.title)}</h2>"
    positions = range(len(table.columns))
    marks = [' class="n"' if is_numeric_column(table.rows, position) else "" for position in positions]
    yield '<div class="scroll"><table><thead><tr>'
    yield "".join(
        f"<th{mark}>{_escaped(column)}</th>" for column, mark in zip(table.columns, marks, strict=True)
    )
    yield "</tr></thead><tbody>"
    for row in table.rows:
        cells = zip(row, marks, strict=True)
        yield (
            "<tr>"
            + "".join(f"<td{mark}>{_escaped(cell_text(value))}</td>" for value, mark in cells)
            + "</tr>"
        )
    yield "</tbody></table></div>"

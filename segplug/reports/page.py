"""Write a report as one HTML page with its pictures inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from segplug.files import write_text
from segplug.reports.document import Bullets, Code, Failure, Page, Part, Section, render
from segplug.results import AnalyzeReport

__all__ = ["as_page", "write_page"]


def write_page(report: AnalyzeReport, path: Path, *, command: str = "", force: bool = False) -> None:
    """Write the page whole or not at all; raises as :func:`segplug.files.writing` does.

    ``command`` is the one that made the report, of :func:`segplug.reports.command_line.command_line`.
    """
    write_text(path, as_page(report, command=command), force=force)


def as_page(report: AnalyzeReport, *, command: str = "") -> str:
    """The page's HTML. Every figure is drawn for it."""
    return render(Page(report.title, command=command, sections=tuple(_sections(report))))


def _sections(report: AnalyzeReport) -> Iterator[Section]:
    first: list[Part] = [Failure(failure) for failure in report.failures]
    if report.text:
        first.append(Code(report.text, report.text_language))
    # The page's own title needs no second time below a picture.
    first += [replace(one, title="") if one.title == report.title else one for one in report.figures]
    if first:
        yield Section("", tuple(first))
    for table in report.tables:
        if not table.only_csv:
            yield Section(table.title[:1].upper() + table.title[1:], (replace(table, title=""),))
    if report.notes:
        yield Section("Notes", (Bullets(report.notes),))

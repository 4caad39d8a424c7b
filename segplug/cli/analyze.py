"""``segplug analyze <target> SUBJECT...``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from segplug.cli.given_command import given_command
from segplug.cli.invocation import Invocation
from segplug.cli.output import Output
from segplug.cli.parameters import Flag, force_option
from segplug.errors import UsageError
from segplug.files import ensure_free, refuse_input
from segplug.installed import Provider
from segplug.reports.page import write_page
from segplug.reports.sheets import ensure_no_sheets, write_sheets
from segplug.results import AnalyzeReport, Table

__all__ = ["example", "parameters", "run"]


def parameters(provider: Provider) -> list[click.Parameter]:
    """The arguments and flags of every report."""
    subjects = click.Argument(["subjects"], metavar="SUBJECT...", nargs=-1, required=True)
    return [
        *([subjects] if _needs_subjects(provider) else []),
        Flag(
            ["--html"],
            group="output",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Write the report as one page (.html) with its pictures inside.",
        ),
        Flag(
            ["--csv"],
            group="output",
            type=click.Path(path_type=Path),
            metavar="FOLDER",
            help="Write each table as a CSV file to this folder.",
        ),
        force_option("Replace files that are there."),
    ]


def example(provider: Provider) -> str:
    """Write the report of one file as a page."""
    return f"{'CONFIG.py ' if _needs_subjects(provider) else ''}--html report.html"


def run(call: Invocation) -> int:
    """Analyse, and show the report."""
    output, values = call.output, call.values
    _check(values, [path for value in call.own.values() for path in _paths(value)])
    report = call.session.analyze(
        call.provider, *values.get("subjects", ()), force=values["force"], **call.own
    )
    _show(report, output)
    for spec in call.provider.option_specs:
        if spec.output and spec.name in call.own:
            output.say(f"wrote {call.own[spec.name]}")
    if values["html"]:
        write_page(report, values["html"], command=given_command(), force=values["force"])
        output.say(f"wrote {values['html']}")
    if values["csv"]:
        _write_sheets(report, values["csv"], output, force=values["force"])
    output.document({**report.data, "notes": list(report.notes), "failures": list(report.failures)})
    return 1 if report.failures else 0


def _paths(value: Any) -> list[Path]:
    """The files that an option names: one, several or none."""
    return [item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, Path)]


def _needs_subjects(provider: Provider) -> bool:
    """Whether the report is about files; a report that is not takes everything from its options."""
    return bool(provider.attribute("needs_subjects"))


def _write_sheets(report: AnalyzeReport, folder: Path, output: Output, *, force: bool) -> None:
    notes = Table("notes", ("note",), tuple((note,) for note in report.notes))
    written = write_sheets((*report.tables, *([notes] if report.notes else [])), folder, force=force)
    output.say(f"wrote {len(written)} CSV files to {folder}")
    others = sorted(path.name for path in folder.glob("*.csv") if path not in written)
    if others:
        output.say(f"{folder} also holds other CSV files: {', '.join(others)}")


def _check(values: Mapping[str, Any], others: Sequence[Path]) -> None:
    """Check, before any work is done, that the outputs can be written; ``others``: the target's own files."""
    if values["html"] and values["html"] in (values["csv"], *others):
        raise UsageError(f"{values['html']} is named twice", hint="give each output a name of its own")
    if values["html"]:
        refuse_input(values["html"], values.get("subjects", ()))
        if values["html"].suffix.lower() not in (".html", ".htm"):
            # A subject may be read from files that it does not name: --force must not replace one of them.
            raise UsageError(f"--html {values['html']} does not end in .html", hint="name a page to write")
        ensure_free(values["html"], force=values["force"])
    if values["csv"]:
        ensure_no_sheets(values["csv"], force=values["force"])


def _show(report: AnalyzeReport, output: Output) -> None:
    if report.text:
        output.text(report.text)
    else:
        output.say(report.title)
    for figure in report.figures:
        if figure.text:
            output.drawing(figure.text(output.screen))
    output.tables(table for table in report.tables if not table.only_csv)
    output.notes(report.notes)
    for failure in report.failures:
        output.say(f"FAILED: {failure}")

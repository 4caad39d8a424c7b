"""Write a report's tables as CSV files, numbers in full precision, and no text as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from segplug.errors import UsageError
from segplug.files import ensure_folder, making_folder, write_text
from segplug.reports.cells import csv_cell
from segplug.results import Table

__all__ = ["ensure_no_sheets", "sheet_names", "write_sheets"]


def ensure_no_sheets(folder: Path, *, force: bool) -> None:
    """Check, before any work is done, that sheets can be written to ``folder``.

    Raises:
        UsageError: it is a file, it cannot be made, or it holds sheets and ``force`` is not set.
    """
    ensure_folder(folder)
    if not force and any(folder.glob("*.csv")):
        raise UsageError(f"{folder} already holds CSV files", hint="add --force to replace them")


def sheet_names(tables: Iterable[Table]) -> list[str]:
    """A different file name for each table, made from its title."""
    names: list[str] = []
    for table in tables:
        stem = re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-") or "table"
        name, count = stem, 1
        while f"{name}.csv" in names:
            count += 1
            name = f"{stem}-{count}"
        names.append(f"{name}.csv")
    return names


def write_sheets(tables: Iterable[Table], folder: Path, *, force: bool = False) -> list[Path]:
    """Write each table as ``<folder>/<title>.csv`` with a heading row; returns the files.

    Raises:
        UsageError: as :func:`ensure_no_sheets` does.
        ArtifactError: a file cannot be written.
    """
    ensure_no_sheets(folder, force=force)
    tables = tuple(tables)
    paths = []
    with making_folder(folder):
        for table, name in zip(tables, sheet_names(tables), strict=True):
            paths.append(folder / name)
            write_text(paths[-1], _as_csv(table), force=force)
    return paths


def _as_csv(table: Table) -> str:
    text = io.StringIO()
    # All texts in quotes: a spreadsheet may also break lines at semicolons.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows([csv_cell(value) for value in row] for row in (table.columns, *table.rows))
    return text.getvalue()

"""A report's tables as CSV files, numbers in full precision."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from segplug.artifact import write_text
from segplug.errors import ArtifactError, UsageError
from segplug.results import Table

__all__ = ["ensure_free_folder", "sheet_names", "write_sheets"]


def ensure_free_folder(folder: Path, *, force: bool) -> None:
    """Check, before any work is done, that sheets can be written to ``folder``.

    Raises:
        UsageError: it is a file, its parent does not exist, or sheets are there and not ``force``.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; name a folder for the CSV files")
    if not folder.parent.is_dir():
        raise UsageError(f"the folder of {folder} does not exist", hint=f"mkdir -p {folder.parent}")
    if not force and any(folder.glob("*.csv")):
        raise UsageError(f"{folder} already holds CSV files", hint="add --force to replace them")


def sheet_names(tables: Iterable[Table]) -> list[str]:
    """A file name for each table, made of its title, no two alike."""
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
    """Write each table as ``<folder>/<title>.csv``, a heading row first; returns the files.

    Raises:
        UsageError: as :func:`ensure_free_folder` does.
        ArtifactError: a file cannot be written.
    """
    ensure_free_folder(folder, force=force)
    tables = tuple(tables)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot write to {folder}: {error.strerror or error}") from error
    paths = []
    for table, name in zip(tables, sheet_names(tables), strict=True):
        paths.append(folder / name)
        write_text(paths[-1], _as_csv(table), force=force)
    return paths


def _as_csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue()

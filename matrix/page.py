"""Parts of pages in Markdown that show measured rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from matrix.families import Case
from matrix.rows import M, Measured

__all__ = ["environment", "failures", "section", "summary", "table", "write_page"]


def write_page(
    head: str,
    families: Mapping[str, Case],
    columns: Sequence[str],
    parts: Sequence[str],
    rows: Mapping[tuple[str, str], M],
    cells: Callable[[str, Mapping[tuple[str, str], M]], Sequence[str]],
    remarks: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """A page of one measurement: a count of what passed, one line for each family, failures, versions.

    Args:
        head: The title and the introduction.
        families: Every family that is to be measured.
        columns: Titles of the columns.
        parts: The parts that are measured of each family: modes, precisions.
        rows: The rows by family and part.
        cells: Returns the cells of a family.
        remarks: Further lists, by their titles.
    """
    lines = [head, summary(families, parts, rows), ""]
    lines += table(columns, (cells(family, rows) for family in families))
    if failed := failures(rows):
        lines += section("Failures and their reasons", failed)
    for title, remarked in remarks.items():
        lines += section(title, remarked)
    lines += section("Measured with", sorted({environment(row) for row in rows.values()}))
    return "\n".join(lines) + "\n"


def table(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *lines)]


def section(title: str, items: Iterable[str]) -> list[str]:
    """The lines of a section that is a list."""
    return ["", f"## {title}", "", *(f"* {item}" for item in items)]


def summary(families: Mapping[str, Case], parts: Sequence[str], rows: Mapping[tuple[str, str], M]) -> str:
    """How many families pass in each part, and which are not measured yet in every part."""
    passed = {part: sum(row.passed for key, row in rows.items() if key[1] == part) for part in parts}
    text = f"**{', '.join(f'{part} {count} of {len(families)}' for part, count in passed.items())}.**"
    missing = sorted({family for family in families for part in parts if (family, part) not in rows})
    return f"{text} Not measured yet: {', '.join(missing)}." if missing else text


def failures(rows: Mapping[tuple[str, str], M]) -> list[str]:
    """The rows that fail, with their reasons."""
    failed = (row for row in rows.values() if not row.passed)
    return [f"**{row.key[0]}**, {row.key[1]}: {row.reason}" for row in failed]


def environment(row: Measured) -> str:
    """The versions and the machine of a row."""
    versions = ", ".join(f"{name} {version.split('+')[0]}" for name, version in sorted(row.versions.items()))
    return f"{versions}; {row.cpus} CPUs" if row.cpus else versions

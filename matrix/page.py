"""Write measured rows as a page in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from matrix.families import Case
from matrix.rows import M, Measured

__all__ = ["write_page"]


def write_page(
    head: str,
    families: Mapping[str, Case],
    columns: Sequence[str],
    parts: Sequence[str],
    rows: Mapping[tuple[str, str], M],
    cells: Callable[[str, Mapping[tuple[str, str], M]], Sequence[str]],
    remarks: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> str:
    """The page: a count of what passed, one line for each family, failures, versions.

    Args:
        head: The title and the introduction.
        families: Every family that is to be measured.
        columns: Titles of the columns.
        parts: The parts that are measured of each family: modes, precisions.
        rows: The rows by family and part.
        cells: Returns the cells of a family.
        remarks: Further lists, by their titles.
    """
    lines = [head, _summary(families, parts, rows), "", _line(columns), _line(["---"] * len(columns))]
    lines += [_line(cells(family, rows)) for family in families]
    failures = [(family, part, row) for (family, part), row in rows.items() if not row.passed]
    if failures:
        lines += ["", "## Failures and their reasons", ""]
        lines += [f"* **{family}**, {part}: {row.reason}" for family, part, row in failures]
    for title, remarked in remarks.items():
        lines += ["", f"## {title}", "", *(f"* {text}" for text in remarked)]
    lines += ["", "## Measured with", ""]
    lines += [f"* {text}" for text in sorted({_environment(row) for row in rows.values()})]
    return "\n".join(lines) + "\n"


def _summary(families: Mapping[str, Case], parts: Sequence[str], rows: Mapping[tuple[str, str], M]) -> str:
    passed = {part: sum(row.passed for key, row in rows.items() if key[1] == part) for part in parts}
    text = f"**{', '.join(f'{part} {count} of {len(families)}' for part, count in passed.items())}.**"
    missing = sorted({family for family in families for part in parts if (family, part) not in rows})
    return f"{text} Not measured yet: {', '.join(missing)}." if missing else text


def _environment(row: Measured) -> str:
    versions = ", ".join(f"{name} {version.split('+')[0]}" for name, version in sorted(row.versions.items()))
    return f"{versions}; {row.cpus} CPUs" if row.cpus else versions


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

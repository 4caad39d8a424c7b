"""Installed targets as lines of a listing."""

from __future__ import annotations

from collections.abc import Iterable

import click

from segplug.installed import Entry

__all__ = ["entry_lines", "write_entries"]


def write_entries(formatter: click.HelpFormatter, heading: str, entries: Iterable[Entry]) -> None:
    """Write a section with one line for each entry: its name, what it is, and the distribution it is from."""
    with formatter.section(heading):
        formatter.write_dl([(entry.name, _described(entry)) for entry in entries])


def entry_lines(heading: str, entries: Iterable[Entry]) -> str:
    """The same section for a file or a pipe: each entry is one line, however long."""
    rows = [(entry.name, _described(entry)) for entry in entries]
    width = max(len(name) for name, _ in rows)
    return "\n".join([f"{heading}:", *(f"  {name:<{width}}  {text}" for name, text in rows)]) + "\n"


def _described(entry: Entry) -> str:
    status = "" if entry.status == "available" else f"{entry.status.upper()}: "
    reason = f"{entry.reason}. " if entry.reason else ""
    version = f" {entry.version}" if entry.version else ""
    return f"{status}{reason}{entry.facts.about} ({entry.distribution}{version})".replace("  ", " ")

"""The model's card, which the hub's tools leave in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from segplug.regular_files import read_regular_text

__all__ = ["card_of", "data_sets"]

_CARD = "README.md"
_MOST_CARD = 1 << 20
_LISTED = re.compile(r"\s*-\s+(?P<name>\S+)")


def card_of(path: Path) -> Path | None:
    """The card in a model's folder, if it names data sets, which may decide the colours."""
    return path / _CARD if data_sets(path) else None


def data_sets(path: Path) -> tuple[str, ...]:
    """The data sets that a model's card names: ``datasets`` in the lines before its text."""
    try:
        lines = read_regular_text(path / _CARD, most_bytes=_MOST_CARD).splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(_data_sets(lines))


def _data_sets(lines: list[str]) -> Iterator[str]:
    if not lines or lines[0].strip() != "---":
        return
    inside = False
    for line in lines[1:]:
        if line.strip() == "---":
            return
        found = _LISTED.match(line)
        if inside and found:
            yield found["name"].strip("'\"")
            continue
        inside = line.rstrip() == "datasets:"
        if line.startswith("datasets:") and not inside:  # on one line: a name, or [a, b]
            names = line.partition(":")[2].strip().strip("[]").split(",")
            yield from (name.strip(" '\"") for name in names if name.strip())

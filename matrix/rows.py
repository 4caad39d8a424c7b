"""What was measured, as plain data in one JSON file that several runs may add to."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["MODES", "Row", "Rows", "add_rows", "read_rows"]

MODES = ("static", "dynamic", "slide")


@dataclass(frozen=True)
class Row:
    """One export of one family, and how far its file is from the network."""

    family: str
    config: str
    mode: str
    """One of ``MODES``."""
    passed: bool
    reason: str | None = None
    """Why it failed, or what limits it."""
    exported_for: str = ""
    """The size, or the window and its stride."""
    takes: str = ""
    """The sizes that the file takes."""
    compared_at: tuple[str, ...] = ()
    """Batch and size of each input that both sides were run on."""
    relative_difference: float | None = None
    """Largest logit difference, as a share of the logits' range."""
    label_agreement: float | None = None
    firm_agreement: float | None = None
    """Of the labels that no allowed difference of the logits could turn."""
    unsteady: float | None = None
    """Share of pixels that rounding of the input alone moves in PyTorch: left out of the figures above."""
    megabytes: float | None = None
    """10^6 bytes."""
    seconds: float | None = None
    """Of the export, without loading the model and without comparing."""
    cpus: int | None = None
    """Of the machine that it was measured on."""
    versions: dict[str, str] = field(default_factory=dict)


Rows = Mapping[tuple[str, str], Row]
"""Family and mode to row."""


def read_rows(file: Path) -> dict[tuple[str, str], Row]:
    """Family and mode to row; empty if there is no file."""
    if not file.is_file():
        return {}
    rows = [Row(**{**row, "compared_at": tuple(row["compared_at"])}) for row in json.loads(file.read_text())]
    return {(row.family, row.mode): row for row in rows}


def add_rows(file: Path, rows: Iterable[Row], render: Callable[[Rows], str]) -> Rows:
    """Add rows, or replace those of the same family and mode, and write the page; several processes may.

    Args:
        file: The rows; the page lies beside it, as ``.md``.
        rows: What is new; nothing to write the page from what is there.
        render: Makes the page.

    Returns:
        All rows.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file.with_suffix(".lock")):
        known = read_rows(file)
        known.update({(row.family, row.mode): row for row in rows})
        ordered = [known[key] for key in sorted(known, key=lambda key: (key[0], MODES.index(key[1])))]
        _replace(file, json.dumps([asdict(row) for row in ordered], indent=1) + "\n")
        _replace(file.with_suffix(".md"), render(known))
    return known


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(file.name + ".part")
    fresh.write_text(text)
    os.replace(fresh, file)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield

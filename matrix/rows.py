"""What was measured, as plain data in one JSON file that several runs may add to."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

__all__ = ["MODES", "M", "Measured", "Row", "Rows", "add_rows", "read_rows", "row_of"]

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

    @property
    def key(self) -> tuple[str, str]:
        """Of which there is one row."""
        return self.family, self.mode

    @property
    def place(self) -> tuple[str, int]:
        """In the file."""
        return self.family, MODES.index(self.mode)


Rows = Mapping[tuple[str, str], Row]
"""Family and mode to row."""


class Measured(Protocol):
    """A dataclass of plain data that is kept as a row."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __init__(self, family: str, config: str, part: str, /, *, passed: bool, **others: Any) -> None: ...

    @property
    def family(self) -> str: ...

    @property
    def config(self) -> str: ...

    @property
    def passed(self) -> bool: ...

    @property
    def reason(self) -> str | None: ...

    @property
    def versions(self) -> dict[str, str]: ...

    @property
    def key(self) -> tuple[str, str]: ...

    @property
    def place(self) -> tuple[str, int]: ...


M = TypeVar("M", bound=Measured)


def row_of(kind: type[M], data: Mapping[str, Any]) -> M:
    """A row from its JSON types."""
    return kind(**{name: tuple(item) if isinstance(item, list) else item for name, item in data.items()})


def read_rows(file: Path, kind: type[M]) -> dict[tuple[str, str], M]:
    """Key to row; empty if there is no file."""
    if not file.is_file():
        return {}
    rows = [row_of(kind, data) for data in json.loads(file.read_text())]
    return {row.key: row for row in rows}


def add_rows(
    file: Path, rows: Iterable[M], kind: type[M], render: Callable[[Mapping[tuple[str, str], M]], str]
) -> Mapping[tuple[str, str], M]:
    """Add rows, or replace those of the same key, and write the page; several processes may.

    Args:
        file: The rows; the page lies beside it, as ``.md``.
        rows: What is new; nothing to write the page from what is there.
        kind: Of the rows in the file.
        render: Makes the page.

    Returns:
        All rows.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file.with_suffix(".lock")):
        known = read_rows(file, kind)
        known.update({row.key: row for row in rows})
        ordered = sorted(known.values(), key=lambda row: row.place)
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

"""Measurements as rows of plain data in one JSON file, to which several processes may add."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

__all__ = [
    "FORM",
    "FORMATS",
    "MODES",
    "PARTS",
    "ROOT",
    "M",
    "Measured",
    "Row",
    "Rows",
    "add_rows",
    "locked",
    "read_rows",
    "reason_of",
    "replace_text",
    "row_of",
]

ROOT = Path(__file__).resolve().parents[1]

MODES = ("static", "dynamic", "slide")
"""What an ONNX file takes."""
FORM = "form"
"""The exportable form beside the original, both in PyTorch: nothing is exported."""
FORMATS = ("torchscript", "torch-export")
"""The other formats: a file of the static size."""
PARTS = (FORM, *MODES, *FORMATS)
"""All that may be measured of a family, in the order of the file."""


@dataclass(frozen=True)
class Row:
    """One export of one family, and the differences of its file from the network; or its exportable form."""

    family: str
    config: str
    mode: str
    """One of ``PARTS``."""
    passed: bool
    reason: str | None = None
    """Why it failed."""
    exported_for: str = ""
    """The size, or the window and its stride."""
    takes: str = ""
    """The input sizes that the file takes."""
    compared_at: tuple[str, ...] = ()
    """Batch and size of each input of the comparison."""
    relative_difference: float | None = None
    """Largest logit difference, as a share of the logits' range; of a form, of the largest logit."""
    label_agreement: float | None = None
    firm_agreement: float | None = None
    """The share of equal labels among those that no allowed difference of the logits could change."""
    unstable: float | None = None
    """Share of pixels that change in PyTorch when the input is rounded; left out of the figures above."""
    megabytes: float | None = None
    """10^6 bytes."""
    seconds: float | None = None
    """Time of the export, without loading the model and without the comparison."""
    clock: str = "wall"
    """What ``seconds`` counts: ``wall``, or ``processor``: the time of all threads, without what waits."""
    cpus: int | None = None
    """CPUs of the machine that measured it."""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Family and mode; no two rows have the same key."""
        return self.family, self.mode

    @property
    def place(self) -> tuple[str, int]:
        """The row's place in the file."""
        return self.family, PARTS.index(self.mode)


Rows = Mapping[tuple[str, str], Row]
"""Family and mode to row."""


class Measured(Protocol):
    """A dataclass of plain data for a row: :class:`Row` or ``EngineRow``."""

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
    def cpus(self) -> int | None: ...

    @property
    def versions(self) -> dict[str, str]: ...

    @property
    def key(self) -> tuple[str, str]: ...

    @property
    def place(self) -> tuple[str, int]: ...


M = TypeVar("M", bound=Measured)


def reason_of(text: object) -> str:
    """An error's text as a row keeps it: one line, with paths relative to the repository."""
    return " ".join(str(text).split()).replace(f"{ROOT}/", "")


def row_of(kind: type[M], data: Mapping[str, Any]) -> M:
    """A row from its data in JSON types."""
    return kind(**{name: tuple(item) if isinstance(item, list) else item for name, item in data.items()})


def read_rows(file: Path, kind: type[M]) -> dict[tuple[str, str], M]:
    """The rows in a file by their keys; empty if the file does not exist."""
    if not file.is_file():
        return {}
    rows = [row_of(kind, data) for data in json.loads(file.read_text())]
    return {row.key: row for row in rows}


def add_rows(file: Path, rows: Iterable[M], kind: type[M]) -> None:
    """Add rows to a file, replacing those with the same key. Several processes may do so at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock")):
        known = read_rows(file, kind)
        known.update({row.key: row for row in rows})
        ordered = sorted(known.values(), key=lambda row: row.place)
        replace_text(file, json.dumps([asdict(row) for row in ordered], indent=1) + "\n")


def replace_text(file: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    fresh = file.with_name(file.name + ".part")
    fresh.write_text(text)
    os.replace(fresh, file)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Keep other processes out while a file is locked, which is made for that."""
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield

"""The table of a run on a GPU: filled by the tests, shown at the end, written to a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["Machine", "Report", "Row", "as_markdown", "write"]

_COLUMNS = (
    "library",
    "backend",
    "precision",
    "mode",
    "build s",
    "MB",
    "logit difference",
    "mIoU",
    "ms an image",
    "speed",
)

_LEGEND = (
    "Logit difference: the largest difference from PyTorch in fp32 on the CPU, as a share of the logits' "
    "range. ms an image: the median time from arrays on the host to arrays on the host. All rows of one "
    "precision and mode are measured in turns; sliding runs an image's windows as one batch. Speed: relative "
    "to PyTorch in the same precision and mode."
)


@dataclass(frozen=True)
class Machine:
    """The machine, and the date of the measurement."""

    date: str
    device: str
    """The GPU's name and compute capability."""
    driver: str
    """The driver's version, and the CUDA version that it supports."""

    def __str__(self) -> str:
        return f"{self.device}, {self.driver}, {self.date}."


@dataclass(frozen=True)
class Row:
    """One library, precision and mode; ``None``: not measured, or does not apply."""

    library: str
    backend: str
    precision: str
    mode: str
    build_seconds: float | None = None
    megabytes: float | None = None
    difference: float | None = None
    miou: float | None = None
    milliseconds: float | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The row's key; no two rows have the same."""
        return self.mode, self.precision, self.backend, self.library


@dataclass
class Report:
    """The results of the tests of one run."""

    machine: Machine | None = None
    notes: list[str] = field(default_factory=list)
    _rows: dict[tuple[str, str, str, str], Row] = field(default_factory=dict)

    def add(self, row: Row, **measured: float) -> None:
        """Add measured fields to the row with the same key."""
        self._rows[row.key] = replace(self._rows.get(row.key, row), **measured)  # type: ignore[arg-type]

    def note(self, text: str) -> None:
        """Add a note below the table, once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def rows(self) -> list[Row]:
        """All rows: whole before slide, fp32 before fp16, PyTorch first."""
        order = ("pytorch", "onnxruntime", "tensorrt")
        return sorted(
            self._rows.values(),
            key=lambda row: (
                row.mode != "whole",
                row.precision != "fp32",
                order.index(row.backend),
                row.library,
            ),
        )

    def speed(self, row: Row) -> float | None:
        """The speed relative to PyTorch."""
        for other in self._rows.values():
            same = (other.backend, other.mode, other.precision) == ("pytorch", row.mode, row.precision)
            if same and other.milliseconds and row.milliseconds:
                return other.milliseconds / row.milliseconds
        return None


def as_markdown(report: Report) -> str:
    """The machine, the table, and an explanation of its columns."""
    cells = [_COLUMNS, *(_cells(row, report.speed(row)) for row in report.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths) for row in cells]
    lines.insert(1, _line(["-" * width for width in widths], widths))
    parts = [str(report.machine)] if report.machine else []
    parts += ["\n".join(lines), _LEGEND]
    if report.notes:
        parts.append("\n".join(f"* {note}" for note in report.notes))
    return "\n\n".join(parts) + "\n"


def write(report: Report, path: Path) -> None:
    """Write it as JSON (``.json``) or Markdown (any other name)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(_data(report), indent=2) + "\n", encoding="utf-8")
    else:
        path.write_text(as_markdown(report), encoding="utf-8")


def _data(report: Report) -> dict[str, Any]:
    return {
        "machine": asdict(report.machine) if report.machine else None,
        "rows": [{**asdict(row), "speed": report.speed(row)} for row in report.rows],
        "notes": report.notes,
    }


def _cells(row: Row, speed: float | None) -> tuple[str, ...]:
    formats = (
        (row.build_seconds, ".1f"),
        (row.megabytes, ".2f"),
        (row.difference, ".1e"),
        (row.miou, ".4f"),
        (row.milliseconds, ".2f"),
        (speed, ".2f"),
    )
    figures = ("-" if value is None else format(value, form) for value, form in formats)
    return row.library, row.backend, row.precision, row.mode, *figures


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"

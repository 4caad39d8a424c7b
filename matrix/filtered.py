"""All rows of all sources as one table with a filter: ``docs/support-matrix.html``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from matrix.engine_rows import PRECISIONS, EngineRow
from matrix.rows import FORM, MODES, Row, Rows
from matrix.sources import SOURCES, Source
from matrix.words import compared_sizes, freedom, share_at_least, share_at_most
from segplug.reports.document import Bullets, Page, Prose, Section, render
from segplug.results import Table

__all__ = ["filtered_page"]

LEAD = (
    "One network of each family that segplug reads, exported, run and compared with PyTorch: random weights, "
    "none of them zero, fp32. Each line is one measurement."
)
LEGEND = (
    "`form`: nothing is exported; the exportable form is compared with the framework's own code, in PyTorch.",
    "`static`: batch, height and width are fixed. `dynamic`: one file for all sizes that the network itself "
    "takes. `slide`: the file of one window, slid over an image.",
    "`difference`: the largest difference of a logit from PyTorch, as a share of the logits' range.",
    "`equal labels`: the share of pixels with the same label, near-ties included. In lines that passed, all "
    "labels away from near-ties are equal.",
    "`left out`: the share of pixels that change in PyTorch already when the input is rounded. They are in "
    "neither figure.",
    "`s`: seconds of the export alone. `clock`: the wall clock, or the time of the processor. Compare lines "
    "of one clock.",
    "`TensorRT-RTX`: an engine is built from the dynamic ONNX file, and not run.",
)
MADE = "`python -m matrix` measures the figures and writes this page."
COLUMNS = (
    "family",
    "source",
    "format",
    "input",
    "result",
    "difference",
    "equal labels",
    "s",
    "MB",
    "clock",
    "left out",
    "made for",
    "takes",
    "compared at",
    "network",
    "reason",
)
FILTERS = ("source", "format", "input", "result")

FORMATS = {
    FORM: "PyTorch",
    **dict.fromkeys(MODES, "ONNX"),
    "torchscript": "TorchScript",
    "torch-export": "torch.export",
}
"""The format of each part's file."""
INPUTS = {"torchscript": "static", "torch-export": "static"}
"""The input of a part, where it is not the part's name."""


def filtered_page(
    rows: Mapping[str, Rows], engines: Mapping[tuple[str, str], EngineRow], measured_with: Iterable[str]
) -> str:
    """The page as HTML.

    Args:
        rows: The rows of each source.
        engines: The rows of the engines.
        measured_with: The versions and machines, as sentences.
    """
    lines: list[dict[str, Any]] = []
    for name, source in SOURCES.items():
        for family in source.families:
            lines += _lines(source, family, rows[name])
            if source.has_engines:
                lines += _engines(source, family, engines)
        lines += (
            {"family": family, "source": source.title, "result": "left out", "reason": reason}
            for family, reason in source.left_out.items()
        )
    table = Table(
        "Every measurement", COLUMNS, tuple(tuple(map(line.get, COLUMNS)) for line in lines), filters=FILTERS
    )
    notes = tuple(
        f"{source.title}, {family}: {case.note}"
        for source in SOURCES.values()
        for family, case in source.families.items()
        if case.note
    )
    references = tuple(f"{source.title}: {source.slide_reference}." for source in SOURCES.values())
    return render(
        Page(
            "Support matrix",
            LEAD,
            sections=(
                Section("", (table,)),
                Section("What the columns say", (Bullets(LEGEND),)),
                Section("The reference of slide", (Bullets(references),)),
                Section("Remarks", (Bullets(notes),)),
                Section("Measured with", (Prose(MADE), Bullets(tuple(measured_with)))),
            ),
        )
    )


def _lines(source: Source, family: str, rows: Rows) -> Iterator[dict[str, Any]]:
    for part in source.parts:
        line: dict[str, Any] = {
            "family": family,
            "source": source.title,
            "format": FORMATS[part],
            "input": INPUTS.get(part, part),
            "network": source.families[family].config,
            "result": "not measured",
        }
        row = rows.get((family, part))
        yield line if row is None else line | _measured(row)


def _measured(row: Row) -> dict[str, Any]:
    return {
        "result": "passed" if row.passed else "failed",
        "difference": row.relative_difference,
        "equal labels": None if row.label_agreement is None else share_at_least(row.label_agreement),
        "left out": None if row.unstable is None else share_at_most(row.unstable),
        "s": row.seconds,
        "clock": None if row.seconds is None else row.clock,
        "MB": row.megabytes,
        "made for": row.exported_for or None,
        "takes": freedom(row) if row.mode == "dynamic" and row.takes else None,
        "compared at": compared_sizes(row) or None,
        "network": row.config,
        "reason": row.reason,
    }


def _engines(
    source: Source, family: str, engines: Mapping[tuple[str, str], EngineRow]
) -> Iterator[dict[str, Any]]:
    for precision in PRECISIONS:
        line: dict[str, Any] = {
            "family": family,
            "source": source.title,
            "format": f"TensorRT-RTX {precision}",
            "input": "dynamic",
            "network": source.families[family].config,
            "result": "not measured",
        }
        row = engines.get((family, precision))
        if row is not None:
            line |= {
                "result": "built, not run" if row.passed else "failed",
                "s": row.seconds,
                "clock": None if row.seconds is None else "wall",
                "MB": row.megabytes,
                "made for": " to ".join(row.profile) or None,
                "reason": row.reason,
            }
        yield line

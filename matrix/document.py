"""The page of all exports of all sources: ``docs/support-matrix.md``, and its table with a filter as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matrix.engine_rows import FILE as ENGINES
from matrix.engine_rows import PRECISIONS, EngineRow
from matrix.filtered import filtered_page
from matrix.page import environment, failures, section, table
from matrix.rows import FORM, FORMATS, MODES, PARTS, Row, Rows, read_rows
from matrix.sources import SOURCES, Source
from matrix.words import compared_sizes, freedom, share_at_least, share_at_most

__all__ = ["Engines", "read", "render", "render_markdown", "rows_file"]

Engines = Mapping[tuple[str, str], EngineRow]

INTRODUCTION = """\
# Support matrix

One network of each family that segplug reads, exported, run and compared with PyTorch: random weights, none
of them zero, fp32. `python -m matrix` measures the figures and writes this page; its rows lie in
[support-matrix/](support-matrix). **[support-matrix.html](support-matrix.html) is the same as one table with
a filter**: by source, input, format and result. Open it in a browser.
"""
LEGEND = """\
* **form**: nothing is exported. The network in its exportable form is compared with the framework's own code,
  both in PyTorch: the largest difference as a share of the largest logit, at most 1e-05.
* **static**: an ONNX file of standard operators only; batch, height and width are fixed.
* **dynamic**: one ONNX file for all sizes that the network itself takes, compared at several of them: smaller
  and larger than the exported size, not square, and a batch of two. "batch only": the network takes one size
  only, in PyTorch as well.
* **slide**: the ONNX file of one window. segplug's runtime slides it over an image; the reference is the
  slide inference that each section names.
* **torchscript**, **torch-export**: a file of the static size in that format.
* **TensorRT-RTX**: an engine is built from the dynamic ONNX file, and [not run](tensorrt-engines.md).

*diff* is the largest difference of a logit from PyTorch, as a share of the logits' range. *labels* is the
share of equal labels, near-ties included; in rows that pass, all labels away from near-ties are equal. Both
figures leave out pixels that change in PyTorch already when the input is rounded ([why](verification.md));
*labels* gives their share if there are any. *s* is the time of the export alone, by the clock that the end of
the page names. Compare rows of one clock: machines differ.
"""

MODES_COLUMNS = (
    "static",
    "diff",
    "dynamic",
    "diff",
    "sizes compared",
    "slide",
    "diff",
    "labels",
    "MB",
    "s static / dynamic",
)


def rows_file(source: str) -> str:
    """The file of a source's rows, relative to the folder of documents."""
    return f"support-matrix/{source}.json"


def read(docs: Path) -> tuple[dict[str, Rows], Engines]:
    """The rows of every source, and those of the engines, in a folder of documents."""
    rows: dict[str, Rows] = {name: read_rows(docs / rows_file(name), Row) for name in SOURCES}
    return rows, read_rows(docs / ENGINES, EngineRow)


def render(docs: Path) -> dict[str, str]:
    """Both pages, by their names, of the rows in a folder of documents."""
    rows, engines = read(docs)
    return {
        "support-matrix.md": render_markdown(rows, engines),
        "support-matrix.html": filtered_page(rows, engines, map(", ".join, _environments(rows))),
    }


def render_markdown(rows: Mapping[str, Rows], engines: Engines) -> str:
    """The page as Markdown: a summary, one table for each source, failures, versions."""
    lines = [INTRODUCTION, *table(_columns(), (_counts(name, rows[name], engines) for name in SOURCES)), ""]
    lines.append(LEGEND.rstrip())
    for name, source in SOURCES.items():
        lines += _section(source, rows[name], engines if source.has_engines else {})
    failed = [f"{SOURCES[name].title}: {text}" for name, found in rows.items() for text in failures(found)]
    lines += section("Failures and their reasons", failed or ["None."])
    lines += section("Measured with", (f"**{title}**, {text}" for title, text in _environments(rows)))
    return "\n".join(lines) + "\n"


def _columns() -> tuple[str, ...]:
    return ("models of", "families", *PARTS, "TensorRT-RTX")


def _counts(name: str, rows: Rows, engines: Engines) -> list[str]:
    """How many families of a source pass in each part, of how many."""
    source = SOURCES[name]
    total = len(source.families)

    def passed(part: str) -> int:
        return sum(row.passed for key, row in rows.items() if key[1] == part and key[0] in source.families)

    counts = [f"{passed(part)} of {total}" if part in source.parts else "" for part in PARTS]
    built = sum(_is_built(engines, family) for family in source.families)
    title = f"[{source.title}](#{_anchor(source.title)})"
    return [title, str(total), *counts, f"{built} of {total}" if source.has_engines else ""]


def _anchor(title: str) -> str:
    """The address of a heading, as forges make it."""
    return title.lower().replace(".", "").replace(" ", "-")


def _is_built(engines: Engines, family: str) -> bool:
    """Whether its engines are built in every precision."""
    rows = [engines.get((family, precision)) for precision in PRECISIONS]
    return all(row is not None and row.passed for row in rows)


def _section(source: Source, rows: Rows, engines: Engines) -> Iterator[str]:
    has_form = FORM in source.parts
    columns = ["family", "network", *(["form"] if has_form else []), *MODES_COLUMNS]
    for part in FORMATS:
        columns += [part, "s"]
    if source.has_engines:
        columns.append("TensorRT-RTX")
    yield from ("", f"## {source.title}", "", f"{source.what} `{source.command}` measures it.")
    yield from (f"The reference of *slide* is {source.slide_reference}.", "")
    yield from table(columns, (_cells(source, family, rows, engines) for family in source.families))
    notes = [f"**{family}**: {case.note}" for family, case in source.families.items() if case.note]
    notes += [f"**{family}** is not measured: {reason}" for family, reason in source.left_out.items()]
    if notes:
        yield from ("", *(f"* {note}" for note in notes))


def _cells(source: Source, family: str, rows: Rows, engines: Engines) -> list[str]:
    static, dynamic, slide = (rows.get((family, mode)) for mode in MODES)
    measured = [row for row in (static, dynamic, slide) if row is not None]
    configs = dict.fromkeys(row.config for row in measured) or [source.families[family].config]
    form = rows.get((family, FORM))
    cells = [
        family,
        ", ".join(f"`{config.removesuffix('.py')}`" for config in configs),
        *([_mark(form, _difference(form))] if FORM in source.parts else ()),
        _mark(static, static.exported_for if static else ""),
        _difference(static),
        _mark(dynamic, freedom(dynamic) if dynamic and dynamic.passed else ""),
        _difference(dynamic),
        compared_sizes(dynamic) if dynamic else "",
        _mark(slide, slide.exported_for if slide else ""),
        _difference(slide),
        _agreement(measured),
        f"{static.megabytes:.1f}" if static and static.megabytes else "",
        " / ".join(filter(None, map(_seconds, (static, dynamic)))),
    ]
    for part in FORMATS:
        row = rows.get((family, part))
        cells += [_mark(row, _difference(row)), _seconds(row)]
    if source.has_engines:
        cells.append(_engine(engines, family))
    return cells


def _engine(engines: Engines, family: str) -> str:
    """What came of the builds of a family."""
    rows = [row for precision in PRECISIONS if (row := engines.get((family, precision)))]
    return ", ".join(row.precision + ("" if row.passed else " **fails**") for row in rows) or "not measured"


def _mark(row: Row | None, text: str) -> str:
    if row is None:
        return "not measured"
    return text if row.passed else "**fails**"


def _difference(row: Row | None) -> str:
    if row is None or row.relative_difference is None:
        return ""
    return f"{row.relative_difference:.0e}" if row.relative_difference else "0"


def _seconds(row: Row | None) -> str:
    return "" if row is None or row.seconds is None else f"{row.seconds:.0f}"


def _agreement(measured: Sequence[Row]) -> str:
    agreements = [row.label_agreement for row in measured if row.label_agreement is not None]
    left_out = max((row.unstable or 0.0 for row in measured), default=0.0)
    text = share_at_least(min(agreements)) if agreements else ""
    return f"{text}, {share_at_most(left_out)} left out" if left_out else text


def _environments(rows: Mapping[str, Rows]) -> list[tuple[str, str]]:
    """What each source's parts were measured with, and the clock of their seconds."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for name, some in rows.items():
        for row in some.values():
            clock = f"; {row.clock} time" if row.seconds is not None else ""
            found.setdefault((name, environment(row) + clock), {})[row.mode] = None
    return [
        (SOURCES[name].title, f"{', '.join(part for part in PARTS if part in parts)}: {text}")
        for (name, text), parts in found.items()
    ]

"""The page of all exports of a source, such as ``docs/support-matrix.md``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from textwrap import fill

from matrix.page import write_page
from matrix.rows import FORM, MODES, Row, Rows
from matrix.sources import Source

__all__ = ["render"]

INTRODUCTION = (
    "`{command}` measures the figures and writes this page. It exports {what} with `export onnx`: random "
    "weights, none of them zero, fp32, standard ONNX operators only."
)
FORM_HEAD = """\
* **form**: nothing is exported. The network in its exportable form is compared with the framework's own code,
  both in PyTorch: the largest difference as a share of the largest logit, at most 1e-05.
"""
MODES_HEAD = """\
* **static**: batch, height and width are fixed.
* **dynamic**: one file for all sizes that the network itself takes, compared at several of them: smaller and
  larger than the exported size, not square, and a batch of two. "batch only": the network takes one size
  only, in PyTorch as well.
* **slide**: the file of one window. segplug's runtime slides it over an image; the reference is
  {slide_reference}.

*diff* is the largest difference of a logit from PyTorch, as a share of the logits' range. *labels* is the
share of equal labels, near-ties included; in rows that pass, all labels away from near-ties are equal. Both
figures leave out pixels that change in PyTorch already when the input is rounded ([why](verification.md));
*labels* gives their share if there are any. *s* is the time of the export alone.
"""

COLUMNS = ("family", "config")
FORM_COLUMNS = ("form",)
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


def render(source: Source, rows: Rows) -> str:
    """The whole page of a source, in Markdown."""
    has_form = FORM in source.parts
    introduction = INTRODUCTION.format(command=source.command, what=source.what)
    head = f"# {source.title}\n\n{fill(introduction, 110, break_on_hyphens=False)}\n\n"
    head += (FORM_HEAD if has_form else "") + MODES_HEAD.format(slide_reference=source.slide_reference)
    columns = (*COLUMNS, *(FORM_COLUMNS if has_form else ()), *MODES_COLUMNS)
    return write_page(
        head, source.families, columns, source.parts, rows, partial(_cells, source), _remarks(source)
    )


def _remarks(source: Source) -> dict[str, list[str]]:
    """What a reader has to know besides the figures: a title and its lines."""
    cases = source.families.items()
    found = {
        "Remarks": [f"**{family}**: {case.note}" for family, case in cases if case.note],
        "Not measured": [f"**{family}**: {reason}" for family, reason in source.left_out.items()],
    }
    return {title: lines for title, lines in found.items() if lines}


def _cells(source: Source, family: str, rows: Rows) -> list[str]:
    static, dynamic, slide = (rows.get((family, mode)) for mode in MODES)
    measured = [row for row in (static, dynamic, slide) if row is not None]
    configs = dict.fromkeys(row.config for row in measured) or [source.families[family].config]
    form = rows.get((family, FORM))
    return [
        family,
        ", ".join(f"`{config.removesuffix('.py')}`" for config in configs),
        *([_mark(form, _difference(form))] if FORM in source.parts else ()),
        _mark(static, static.exported_for if static else ""),
        _difference(static),
        _mark(dynamic, _freedom(dynamic) if dynamic and dynamic.passed else ""),
        _difference(dynamic),
        ", ".join(_sizes(dynamic)) if dynamic else "",
        _mark(slide, slide.exported_for if slide else ""),
        _difference(slide),
        _agreement(measured),
        f"{static.megabytes:.1f}" if static and static.megabytes else "",
        " / ".join(f"{row.seconds:.0f}" for row in (static, dynamic) if row and row.seconds is not None),
    ]


def _mark(row: Row | None, text: str) -> str:
    if row is None:
        return "not measured"
    return text if row.passed else "**fails**"


def _difference(row: Row | None) -> str:
    if row is None or row.relative_difference is None:
        return ""
    return f"{row.relative_difference:.0e}"


def _agreement(measured: Sequence[Row]) -> str:
    agreements = [row.label_agreement for row in measured if row.label_agreement is not None]
    left_out = max((row.unstable or 0.0 for row in measured), default=0.0)
    text = f"{min(agreements):.4%}" if agreements else ""
    return f"{text}, {left_out:.4%} left out" if left_out else text


def _freedom(row: Row) -> str:
    """In few words, the sizes that the file takes."""
    axes = dict(part.split(" ", 1) for part in row.takes.split(", "))
    height = axes.get("height", "")
    if ".." not in height:
        return f"batch only, {row.exported_for}"
    least, _, steps = height.partition("..")
    words = [] if int(least) < 2 else [f"from {least}"]
    if "steps of" in steps:
        words.append("multiples of " + steps.rsplit(" ", 1)[1])
    return ", ".join(words) or "any size"


def _sizes(row: Row) -> list[str]:
    """Batch, height and width of the comparisons, without repetitions."""
    return list(dict.fromkeys(name.removeprefix("sample ").split(" [")[0] for name in row.compared_at))

"""The page of all exports: ``docs/support-matrix.md``."""

from __future__ import annotations

from collections.abc import Sequence

from matrix.families import FAMILIES
from matrix.page import write_page
from matrix.rows import MODES, Row, Rows

__all__ = ["render"]

HEAD = """\
# Support matrix

`python -m matrix` measures the figures and writes this page. It exports one config of each of mmsegmentation
0.30's families with `export onnx`: random weights, none of them zero, fp32, standard ONNX operators only.

* **static**: batch, height and width are fixed.
* **dynamic**: one file for all sizes that the network itself takes, compared at several of them: smaller and
  larger than the exported size, not square, and a batch of two. "batch only": the network takes one size
  only, in PyTorch as well.
* **slide**: the file of one window. segplug's runtime slides it over an image, and mmseg's own slide
  inference is the reference.

*diff* is the largest difference of a logit from PyTorch, as a share of the logits' range. *labels* is the
share of equal labels, near-ties included; in rows that pass, all labels away from near-ties are equal. Both
figures leave out pixels that change in PyTorch already when the input is rounded ([why](verification.md));
*labels* gives their share if there are any. *s* is the time of the export alone.
"""

COLUMNS = (
    "family",
    "config",
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


def render(rows: Rows) -> str:
    """The whole page, in Markdown."""
    return write_page(HEAD, COLUMNS, MODES, rows, _cells)


def _cells(family: str, rows: Rows) -> list[str]:
    static, dynamic, slide = (rows.get((family, mode)) for mode in MODES)
    measured = [row for row in (static, dynamic, slide) if row is not None]
    configs = dict.fromkeys(row.config for row in measured) or [FAMILIES[family].config]
    return [
        family,
        ", ".join(f"`{config.removesuffix('.py')}`" for config in configs),
        _mark(static, static.exported_for if static else ""),
        _difference(static),
        _mark(dynamic, _freedom(dynamic) if dynamic else ""),
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

"""Both generations of mmsegmentation compared: rows, and their page ``docs/mmseg-generations.md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from matrix.families import FAMILIES, Case
from matrix.page import write_page

__all__ = ["CHANGES", "FILE", "PART", "GenerationRow", "render"]

FILE = "mmseg-generations.json"
"""The file of the rows, in the folder of documents."""
PART = "logits"

_CONVNEXT = (
    "mmpretrain's `ConvNeXt` normalises before each downsampling with an eps of 1e-6, that of mmcls with "
    "1e-5; and its blocks normalise tensors of another memory layout, whose sums are rounded otherwise. With "
    "both as in mmcls, the logits are equal bit for bit"
)
CHANGES: dict[str, str] = {"convnext": _CONVNEXT}
"""What 1.x does otherwise, for the families whose logits it changes."""
LARGEST_CHANGE = 1e-5
"""The largest difference that such a change may make, as a share of the largest logit."""

_PATCHES = "`VisionTransformer` of 1.x has a bias in its first convolution with `patch_bias=True` alone"
TRANSLATED: dict[str, str] = dict.fromkeys(("dpt", "segmenter", "setr", "vit"), _PATCHES)
"""What of a network the translated config has to say, which that of 0.30 need not."""


@dataclass(frozen=True)
class GenerationRow:
    """One network with the same weights and the same input in both generations."""

    family: str
    config: str
    """Of 0.30."""
    part: str
    passed: bool
    """The logits are equal bit for bit; or the difference is small, and ``CHANGES`` says where it is from."""
    reason: str | None = None
    """Why it failed."""
    compared_at: str = ""
    """Batch and size of the input."""
    parameters: int | None = None
    equal: bool = False
    """Whether the logits are equal bit for bit."""
    difference: float | None = None
    """The largest difference of a logit."""
    largest_logit: float | None = None
    cpus: int | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Family and part; no two rows have the same key."""
        return self.family, self.part

    @property
    def place(self) -> tuple[str, int]:
        """The row's place in the file."""
        return self.family, 0


Rows = Mapping[tuple[str, str], GenerationRow]

HEAD = """\
# Networks of mmsegmentation 0.30 in 1.x

`python -m matrix.generations` measures the figures and writes this page. In an environment with 0.30 it
builds one config of each family, with random weights, none of them zero, and stores the checkpoint, an input
and the logits that mmseg's own code gives for it. In an environment with 1.x it loads **the same config and
checkpoint**, translated in memory, checks that every weight is the one of the checkpoint, and compares the
logits that 1.x's own code gives for the same input. Both have the same PyTorch, and one thread.

*difference* is the largest difference of a logit; "none": they are equal bit for bit.
"""

COLUMNS = ("family", "config of 0.30", "parameters", "input", "largest logit", "difference")


def render(rows: Rows) -> str:
    """The whole page, in Markdown."""
    trained = {row.family: Case(row.config) for row in rows.values() if row.family not in FAMILIES}
    remarks = {
        "What 1.x computes otherwise": [f"**{family}**: {text}." for family, text in CHANGES.items()],
        "What the translated config adds to the network": [
            f"**{family}**: {text}." for family, text in TRANSLATED.items()
        ],
    }
    shown = {title: lines for title, lines in remarks.items() if lines}
    return write_page(HEAD, {**FAMILIES, **trained}, COLUMNS, (PART,), rows, _cells, shown)


def _cells(family: str, rows: Rows) -> list[str]:
    row = rows.get((family, PART))
    if row is None:
        return [family, f"`{FAMILIES[family].config.removesuffix('.py')}`", "", "", "", "not measured"]
    difference = "**fails**"
    if row.difference is not None and row.passed:
        difference = "none" if row.equal else f"{row.difference:.0e}"
    return [
        family,
        f"`{row.config.removesuffix('.py')}`",
        f"{row.parameters / 1e6:.1f} M" if row.parameters else "",
        row.compared_at,
        f"{row.largest_logit:.2f}" if row.largest_logit is not None else "",
        difference,
    ]

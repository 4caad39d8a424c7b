"""Measured builds of engines as rows, and their page: ``docs/tensorrt-engines.md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from matrix.families import FAMILIES
from matrix.page import write_page

__all__ = ["FILE", "PRECISIONS", "EngineRow", "render"]

FILE = "tensorrt-engines.json"
"""The file of the rows, in the folder of documents."""
PRECISIONS = ("fp32", "fp16")


@dataclass(frozen=True)
class EngineRow:
    """One build of one family's ONNX file."""

    family: str
    config: str
    precision: str
    """One of ``PRECISIONS``."""
    passed: bool
    reason: str | None = None
    """Why it failed."""
    profile: tuple[str, ...] = ()
    """Smallest and largest input."""
    seconds: float | None = None
    """Time of ``build_engine``, with the conversion to another precision."""
    megabytes: float | None = None
    """Size of the plan, 10^6 bytes."""
    cpus: int | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Family and precision; no two rows have the same key."""
        return self.family, self.precision

    @property
    def place(self) -> tuple[str, int]:
        """The row's place in the file."""
        return self.family, PRECISIONS.index(self.precision)


Rows = Mapping[tuple[str, str], EngineRow]

HEAD = """\
# Engines of every family

`python -m matrix.engines` measures the figures and writes this page. For each of mmsegmentation 0.30's
families it exports one config with random weights to a dynamic ONNX file, and builds engines from it with
`build_engine tensorrt` and TensorRT-RTX, on a CPU. The profile goes from one image to two images of twice the
height and width, if the network takes more than one size. **No engine was run**: that needs a GPU
([how](tensorrt-gpu.md)). *s* is the time of the whole command without loading the model; compare the rows,
since machines differ. *MB* is the size of the engine.
"""

COLUMNS = ("family", "config", "profile", "fp32 s", "fp32 MB", "fp16 s", "fp16 MB")


def render(rows: Rows) -> str:
    """The whole page, in Markdown."""
    return write_page(HEAD, FAMILIES, COLUMNS, PRECISIONS, rows, _cells)


def _cells(family: str, rows: Rows) -> list[str]:
    built = [rows.get((family, precision)) for precision in PRECISIONS]
    profile = next((row.profile for row in built if row is not None and row.profile), ())
    cells = [family, f"`{FAMILIES[family].config.removesuffix('.py')}`", " to ".join(profile)]
    for row in built:
        if row is None:
            cells += ["not measured", ""]
        elif row.seconds is None or row.megabytes is None:
            cells += ["**fails**", ""]
        else:
            cells += [f"{row.seconds:.1f}", f"{row.megabytes:.1f}"]
    return cells

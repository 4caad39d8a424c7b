"""Build the engines of every family with TensorRT-RTX and write ``docs/tensorrt-engines.md``.

    python -m matrix.engines                      every family that has not passed with the installed versions
    python -m matrix.engines --family setr --again

It needs no GPU. Ctrl-C stops it at any time. Measured rows are kept, and the next call continues from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matrix import document
from matrix.command import Measurement, run, run_and_exit
from matrix.engine_measure import versions
from matrix.engine_rows import FILE, PRECISIONS, EngineRow, render
from matrix.families import FAMILIES
from matrix.rows import read_rows


def describe(row: EngineRow) -> str:
    """A row that passed, in one line."""
    return f"{row.megabytes:.1f} MB in {row.seconds:.1f} s"


def pages(docs: Path) -> dict[str, str]:
    """The page of the engines, and the support matrix, which names them."""
    return {"tensorrt-engines.md": render(read_rows(docs / FILE, EngineRow)), **document.render(docs)}


ENGINES = Measurement(
    prog="python -m matrix.engines",
    description=__doc__,
    data=FILE,
    kind=EngineRow,
    module=("matrix.engine_measure",),
    families=FAMILIES,
    parts=PRECISIONS,
    versions=versions,
    render=pages,
    describe=describe,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """See :func:`matrix.command.run`."""
    return run(ENGINES, arguments)


if __name__ == "__main__":
    run_and_exit(main)

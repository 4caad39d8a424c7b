"""Build every family's engines with TensorRT-RTX and write ``docs/tensorrt-engines.md`` from what came out.

    python -m matrix.engines                      every family that has not passed with these versions
    python -m matrix.engines --family setr --again

Needs no GPU. Ctrl-C at any time: what is measured is kept, and the next call goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from matrix.command import ROOT, Measurement, run
from matrix.engine_measure import versions
from matrix.engine_rows import PRECISIONS, EngineRow, render


def told(row: EngineRow) -> str:
    """A row that passed, in a line."""
    return f"{row.megabytes:.1f} MB in {row.seconds:.1f} s"


ENGINES = Measurement(
    prog="python -m matrix.engines",
    description=__doc__,
    data=ROOT / "docs" / "tensorrt-engines.json",
    kind=EngineRow,
    module="matrix.engine_measure",
    parts=PRECISIONS,
    versions=versions,
    render=render,
    told=told,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """See :func:`matrix.command.run`."""
    return run(ENGINES, arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the next call goes on from here")

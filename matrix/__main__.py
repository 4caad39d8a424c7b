"""Export every family of mmsegmentation and write ``docs/support-matrix.md`` from what came out.

    python -m matrix                          every family that has not passed with these versions
    python -m matrix --family setr --again    some of them, measured or not
    python -m matrix --shard 1/2              every second one; two shards may run at the same time

Ctrl-C at any time: families that are measured are kept, and the next call goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from matrix.command import ROOT, Measurement, run
from matrix.document import render
from matrix.measure import versions
from matrix.rows import MODES, Row


def told(row: Row) -> str:
    """A row that passed, in a line."""
    return f"{row.exported_for}, difference {row.relative_difference:.1e}, {row.seconds:.0f} s"


EXPORTS = Measurement(
    prog="python -m matrix",
    description=__doc__,
    data=ROOT / "docs" / "support-matrix.json",
    kind=Row,
    module="matrix.measure",
    parts=MODES,
    versions=versions,
    render=render,
    told=told,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """See :func:`matrix.command.run`."""
    return run(EXPORTS, arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the next call goes on from here")

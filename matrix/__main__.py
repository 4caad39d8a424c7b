"""Export every family of mmsegmentation, compare with PyTorch, and write ``docs/support-matrix.md``.

    python -m matrix                          every family that has not passed with the installed versions
    python -m matrix --family setr --again    one family, even if it is up to date
    python -m matrix --shard 1/2              every second family; two shards may run at the same time

Ctrl-C stops it at any time. Measured rows are kept, and the next call continues from there.
"""

from __future__ import annotations

from collections.abc import Sequence

from matrix.command import ROOT, Measurement, run, run_and_exit
from matrix.document import render
from matrix.measure import versions
from matrix.rows import MODES, Row


def describe(row: Row) -> str:
    """A row that passed, in one line."""
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
    describe=describe,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """See :func:`matrix.command.run`."""
    return run(EXPORTS, arguments)


if __name__ == "__main__":
    run_and_exit(main)

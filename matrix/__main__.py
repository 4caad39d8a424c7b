"""Export every family of a framework, compare with PyTorch, and write ``docs/support-matrix.*``.

    python -m matrix                          every family that has not passed with the installed versions
    python -m matrix --source mmseg1          the families of 1.x, in an environment that has it
    python -m matrix --source transformers    every segmentation class of transformers
    python -m matrix --source smp             the architectures of segmentation-models-pytorch
    python -m matrix --source torchvision     the segmentation networks of torchvision
    python -m matrix --family setr --again    one family, even if it is up to date
    python -m matrix --part torchscript       one part of every family
    python -m matrix --page                   write the pages of the rows that are there
    python -m matrix --shard 1/2              every second family; two shards may run at the same time

Ctrl-C stops it at any time. Measured rows are kept, and the next call continues from there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from matrix.command import Measurement, run, run_and_exit
from matrix.document import render, rows_file
from matrix.rows import Row
from matrix.sources import SOURCES


def describe(row: Row) -> str:
    """A row that passed, in one line."""
    export = f"{row.exported_for}, " if row.exported_for else ""
    seconds = f", {row.seconds:.0f} s" if row.seconds is not None else ""
    return f"{export}difference {row.relative_difference:.1e}{seconds}"


def exports(name: str) -> Measurement[Row]:
    """The measurement of a source."""
    source = SOURCES[name]
    return Measurement(
        prog="python -m matrix",
        description=__doc__,
        data=rows_file(name),
        kind=Row,
        module=("matrix.measure", name),
        families=source.families,
        parts=source.parts,
        versions=source.versions,
        render=render,
        describe=describe,
        missing=source.missing,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """See :func:`matrix.command.run`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--source", choices=sorted(SOURCES), default="mmseg0", help="default: %(default)s")
    chosen, _ = parser.parse_known_args(arguments)
    return run(exports(chosen.source), arguments, [parser])


if __name__ == "__main__":
    run_and_exit(main)

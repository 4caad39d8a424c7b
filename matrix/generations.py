"""Compare the logits of mmsegmentation 0.30 and 1.x, and write ``docs/mmseg-generations.md``.

    python -m matrix.generations --old .venv/bin/python --new .venv-mmseg1/bin/python
    python -m matrix.generations ... --trained FOLDER    also configs there that have a checkpoint beside them

The two interpreters are those of the environments that have 0.30 and 1.x. Ctrl-C stops it at any time.
Measured rows are kept, and the next call continues from there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from matrix.command import ROOT, Measurement, run, run_and_exit
from matrix.families import FAMILIES
from matrix.generation_measure import trained_cases, versions
from matrix.generation_rows import FILE, PART, GenerationRow, render
from matrix.rows import read_rows


def describe(row: GenerationRow) -> str:
    """A row that passed, in one line."""
    return "equal bit for bit" if row.equal else f"difference {row.difference:.1e}, which is explained"


def pages(docs: Path) -> dict[str, str]:
    """The page of the rows in a folder of documents."""
    return {"mmseg-generations.md": render(read_rows(docs / FILE, GenerationRow))}


def comparisons(old: str, new: str, trained: Path | None) -> Measurement[GenerationRow]:
    """The measurement with two interpreters."""
    others = ("--trained", str(trained)) if trained else ()
    return Measurement(
        prog="python -m matrix.generations",
        description=__doc__,
        data=FILE,
        kind=GenerationRow,
        module=("matrix.generation_measure", *others, old, new),
        families={**FAMILIES, **trained_cases(trained)},
        parts=(PART,),
        versions=lambda _: versions(old, new),
        render=pages,
        describe=describe,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """See :func:`matrix.command.run`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--old", type=_interpreter, default=ROOT / ".venv/bin/python", help="Python with 0.30"
    )
    parser.add_argument(
        "--new", type=_interpreter, default=ROOT / ".venv-mmseg1/bin/python", help="Python with 1.x"
    )
    parser.add_argument("--trained", type=_folder, metavar="FOLDER", help="trained configs and checkpoints")
    chosen, _ = parser.parse_known_args(arguments)
    return run(comparisons(str(chosen.old), str(chosen.new), chosen.trained), arguments, [parser])


def _interpreter(text: str) -> Path:
    """The path as given, absolute: resolving its links would leave the environment."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no {text}")
    return Path(text).absolute()


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return Path(text).absolute()


if __name__ == "__main__":
    run_and_exit(main)

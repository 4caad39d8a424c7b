"""Export every family of mmsegmentation and write ``docs/support-matrix.md`` from what came out.

    python -m matrix                          every family that has not passed with these versions
    python -m matrix --family setr --again    some of them, measured or not
    python -m matrix --shard 1/2              every second one; two shards may run at the same time

Ctrl-C at any time: families that are measured are kept, and the next call goes on from there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from matrix.document import render
from matrix.families import FAMILIES
from matrix.measure import versions
from matrix.rows import MODES, Row, add_rows, read_rows

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "support-matrix.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, write the page; 1 if a row that was asked for fails."""
    options = _parser().parse_args(arguments)
    chosen = _share(sorted(set(options.family or FAMILIES)), options.shard)
    rows = read_rows(options.data)
    made_by = versions()
    for family in chosen:
        if not options.again and all(_stands(rows.get((family, mode)), made_by) for mode in MODES):
            print(f"{family}: measured already", flush=True)
            continue
        for row in _measured(family, made_by, options.minutes):
            add_rows(options.data, [row], render)
            print(_told(row), flush=True)
    rows = add_rows(options.data, [], render)
    failed = [row for row in rows.values() if row.family in chosen and not row.passed]
    print(f"{options.data.with_suffix('.md')}: {len(chosen)} families, {len(failed)} rows fail")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m matrix", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--family", nargs="+", choices=sorted(FAMILIES), metavar="NAME", help="default: all of them"
    )
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="part I of N, from 1")
    parser.add_argument("--again", action="store_true", help="measure what is measured already")
    parser.add_argument("--minutes", type=float, default=30.0, help="the longest that one family may take")
    parser.add_argument(
        "--data", type=Path, default=DATA, help="where rows are kept; the page lies beside it (.md)"
    )
    return parser


def _shard(text: str) -> tuple[int, int]:
    try:
        part, count = (int(number) for number in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no I/N, such as 1/4") from None
    if not 1 <= part <= count:
        raise argparse.ArgumentTypeError(f"there is no part {part} of {count}")
    return part, count


def _share(families: Sequence[str], shard: tuple[int, int]) -> list[str]:
    part, count = shard
    return list(families[part - 1 :: count])


def _stands(row: Row | None, made_by: dict[str, str]) -> bool:
    """Whether a row says what would be measured now; a failure is tried again."""
    if row is None or not row.passed:
        return False
    return row.versions == made_by and row.config == FAMILIES[row.family].config


def _measured(family: str, made_by: dict[str, str], minutes: float) -> Iterator[Row]:
    """The rows of one family, from a process of its own; what it did not get to failed, and why."""
    command = [sys.executable, "-m", "matrix.measure", family]
    done = set()
    try:
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * minutes)
        output, end = process.stdout, _end(process.returncode, process.stderr)
    except subprocess.TimeoutExpired as error:
        output, end = (error.stdout or b"").decode(), f"it did not end within {minutes:g} minutes"
    for line in output.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            done.add(row["mode"])
            yield Row(**{**row, "compared_at": tuple(row["compared_at"])})
    for mode in MODES:
        if mode not in done:
            yield Row(family, FAMILIES[family].config, mode, passed=False, reason=end, versions=made_by)


def _end(code: int, errors: str) -> str:
    last = (errors.strip().splitlines() or ["nothing was printed"])[-1]
    return f"the process ended with {code}: {last}"


def _told(row: Row) -> str:
    if not row.passed:
        return f"{row.family} {row.mode}: FAILS: {row.reason}"
    return (
        f"{row.family} {row.mode}: {row.exported_for}, difference {row.relative_difference:.1e}, "
        f"{row.seconds:.0f} s"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the next call goes on from here")

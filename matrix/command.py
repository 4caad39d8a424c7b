"""What the commands that measure every family have in common."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from matrix.families import FAMILIES
from matrix.rows import M, Measured, add_rows, read_rows, row_of

__all__ = ["ROOT", "Measurement", "chosen_families", "run"]

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Measurement(Generic[M]):
    """What one command measures of each family."""

    prog: str
    description: str | None
    data: Path
    """Where its rows are kept by default."""
    kind: type[M]
    module: str
    """Measures one family, whose name it is given, and prints its rows as JSON."""
    parts: tuple[str, ...]
    """Each family has one row for each."""
    versions: Callable[[], dict[str, str]]
    """What a row depends on."""
    render: Callable[[Mapping[tuple[str, str], M]], str]
    """Makes the page."""
    told: Callable[[M], str]
    """A row that passed, in a line."""

    def rows_of(self, family: str, made_by: dict[str, str], minutes: float) -> Iterator[M]:
        """The rows of one family; what its process did not get to failed, and why."""
        printed, end = _printed(self.module, family, minutes)
        rows = [row_of(self.kind, data) for data in printed]
        yield from rows
        for part in self.parts:
            if (family, part) not in {row.key for row in rows}:
                yield self.kind(
                    family, FAMILIES[family].config, part, passed=False, reason=end, versions=made_by
                )


def run(measurement: Measurement[M], arguments: Sequence[str] | None) -> int:
    """Measure what is asked for, write the page; 1 if a row that was asked for fails."""
    options = _parser(measurement.prog, measurement.description, measurement.data).parse_args(arguments)
    chosen = chosen_families(options.family, options.shard)
    kind, render = measurement.kind, measurement.render
    rows = read_rows(options.data, kind)
    made_by = measurement.versions()
    for family in chosen:
        known = [rows.get((family, part)) for part in measurement.parts]
        if not options.again and all(_stands(row, made_by) for row in known):
            print(f"{family}: measured already", flush=True)
            continue
        for row in measurement.rows_of(family, made_by, options.minutes):
            add_rows(options.data, [row], kind, render)
            name = " ".join(row.key)
            print(f"{name}: {measurement.told(row) if row.passed else f'FAILS: {row.reason}'}", flush=True)
    every = add_rows(options.data, [], kind, render)
    failed = [row for row in every.values() if row.family in chosen and not row.passed]
    print(f"{options.data.with_suffix('.md')}: {len(chosen)} families, {len(failed)} rows fail")
    return 1 if failed else 0


def _stands(row: Measured | None, made_by: dict[str, str]) -> bool:
    """Whether a row says what would be measured now; a failure is tried again."""
    if row is None or not row.passed:
        return False
    return row.versions == made_by and row.config == FAMILIES[row.family].config


def _parser(prog: str, description: str | None, data: Path) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--family", nargs="+", choices=sorted(FAMILIES), metavar="NAME", help="default: all of them"
    )
    made.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="part I of N, from 1")
    made.add_argument("--again", action="store_true", help="measure what is measured already")
    made.add_argument("--minutes", type=float, default=30.0, help="the longest that one family may take")
    made.add_argument(
        "--data", type=Path, default=data, help="where rows are kept; the page lies beside it (.md)"
    )
    return made


def _shard(text: str) -> tuple[int, int]:
    try:
        part, count = (int(number) for number in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no I/N, such as 1/4") from None
    if not 1 <= part <= count:
        raise argparse.ArgumentTypeError(f"there is no part {part} of {count}")
    return part, count


def chosen_families(named: Sequence[str] | None, shard: tuple[int, int]) -> list[str]:
    """The share of the families that were named, or of all."""
    part, count = shard
    return sorted(set(named or FAMILIES))[part - 1 :: count]


def _printed(module: str, family: str, minutes: float) -> tuple[list[dict[str, Any]], str]:
    """The rows that ``python -m MODULE FAMILY`` prints, in a process of its own, and how that ended."""
    command = [sys.executable, "-m", module, family]
    try:
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * minutes)
        output, end = process.stdout, _end(process.returncode, process.stderr)
    except subprocess.TimeoutExpired as error:
        output, end = (error.stdout or b"").decode(), f"it did not end within {minutes:g} minutes"
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")], end


def _end(code: int, errors: str) -> str:
    last = (errors.strip().splitlines() or ["nothing was printed"])[-1]
    return f"the process ended with {code}: {last}"

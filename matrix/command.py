"""Run a command that measures every family: choose families, measure what is missing, write the pages."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn

from matrix.families import Case
from matrix.rows import ROOT, M, Measured, add_rows, locked, read_rows, reason_of, replace_text, row_of

__all__ = ["ROOT", "Measurement", "choose_families", "run", "run_and_exit"]


@dataclass(frozen=True)
class Measurement(Generic[M]):
    """One command: what it measures of each family, and how it shows that."""

    prog: str
    description: str | None
    data: str
    """The file of rows, relative to the folder of documents."""
    kind: type[M]
    """The class of the rows."""
    module: tuple[str, ...]
    """The module that measures one family, and arguments before the family's name and the parts: it prints
    rows as JSON."""
    families: Mapping[str, Case]
    parts: tuple[str, ...]
    """The parts of a family, with one row for each: modes, precisions."""
    versions: Callable[[str], dict[str, str]]
    """Returns the installed versions that a row of a part depends on."""
    render: Callable[[Path], Mapping[str, str]]
    """Returns the pages of the rows in a folder of documents: their texts by their names in it."""
    describe: Callable[[M], str]
    """Describes a row that passed, in one line."""
    missing: Callable[[], str | None] = lambda: None
    """Returns why this environment cannot measure, or ``None``."""

    def rows_of(self, family: str, parts: Sequence[str], minutes: float) -> Iterator[M]:
        """The rows of one family. A part that its process did not print gets a failed row with the reason."""
        printed, end = _run_module(self.module, family, parts, minutes)
        rows = [row_of(self.kind, data) for data in printed]
        yield from rows
        for part in parts:
            if (family, part) not in {row.key for row in rows}:
                yield self.kind(
                    family,
                    self.families[family].config,
                    part,
                    passed=False,
                    reason=end,
                    versions=self.versions(part),
                )

    def write_pages(self, docs: Path) -> list[Path]:
        """Write the pages of the rows in a folder of documents. Several processes may do so at once."""
        with locked(docs / "pages.lock"):
            pages = [(docs / name, text) for name, text in self.render(docs).items()]
            for page, text in pages:
                replace_text(page, text)
        return [page for page, _ in pages]


def run(
    measurement: Measurement[M],
    arguments: Sequence[str] | None,
    parents: Sequence[argparse.ArgumentParser] = (),
) -> int:
    """Measure the chosen families and write the pages. Returns 1 if one of their rows fails.

    Args:
        measurement: What is measured.
        arguments: Of the command line.
        parents: Parsers of more options, which chose ``measurement``.
    """
    parser = _parser(measurement, parents)
    options = parser.parse_args(arguments)
    if options.page:
        print(*measurement.write_pages(options.docs), sep="\n")
        return 0
    if reason := measurement.missing():
        parser.error(reason)
    chosen = choose_families(options.family or measurement.families, options.shard)
    parts = [part for part in measurement.parts if part in (options.part or measurement.parts)]
    file, kind = options.docs / measurement.data, measurement.kind
    rows = read_rows(file, kind)
    installed = {part: measurement.versions(part) for part in parts}
    for family in chosen:
        case = measurement.families[family]
        due = [
            part
            for part in parts
            if options.again or not _is_current(rows.get((family, part)), installed[part], case)
        ]
        if not due:
            print(f"{family}: up to date", flush=True)
            continue
        for row in measurement.rows_of(family, due, options.minutes):
            add_rows(file, [row], kind)
            name = " ".join(row.key)
            print(
                f"{name}: {measurement.describe(row) if row.passed else f'FAILS: {row.reason}'}", flush=True
            )
        measurement.write_pages(options.docs)
    every = read_rows(file, kind)
    failed = [
        row for row in every.values() if row.key[0] in chosen and row.key[1] in parts and not row.passed
    ]
    pages = ", ".join(str(page) for page in measurement.write_pages(options.docs))
    print(f"{pages}: {len(chosen)} families, {len(failed)} rows fail")
    return 1 if failed else 0


def run_and_exit(main: Callable[[], int]) -> NoReturn:
    """Run a command as the program; Ctrl-C ends it with one line."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the next call continues from here")


def _is_current(row: Measured | None, installed: dict[str, str], case: Case) -> bool:
    """Whether a row passed with this config and these versions. Failures are measured again."""
    if row is None or not row.passed:
        return False
    return row.versions == installed and row.config == case.config


def _parser(
    measurement: Measurement[Any], parents: Sequence[argparse.ArgumentParser]
) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=measurement.prog,
        description=measurement.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=list(parents),
    )
    made.add_argument(
        "--family",
        nargs="+",
        choices=sorted(measurement.families),
        metavar="NAME",
        help="families to measure; default: all",
    )
    made.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="I/N", help="measure part I of N, counted from 1"
    )
    made.add_argument(
        "--part",
        nargs="+",
        choices=measurement.parts,
        metavar="PART",
        help=f"what to measure of a family, of {', '.join(measurement.parts)}; default: all",
    )
    made.add_argument("--again", action="store_true", help="also measure what is up to date")
    made.add_argument("--page", action="store_true", help="measure nothing, write the pages")
    made.add_argument("--minutes", type=float, default=30.0, help="time limit for one family")
    made.add_argument(
        "--docs",
        type=Path,
        default=ROOT / "docs",
        metavar="FOLDER",
        help="folder of the rows and of the pages; default: docs",
    )
    return made


def _shard(text: str) -> tuple[int, int]:
    try:
        part, count = (int(number) for number in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not I/N, such as 1/4") from None
    if not 1 <= part <= count:
        raise argparse.ArgumentTypeError(f"there is no part {part} of {count}")
    return part, count


def choose_families(named: Iterable[str], shard: tuple[int, int]) -> list[str]:
    """The given share of the named families."""
    part, count = shard
    return sorted(set(named))[part - 1 :: count]


def _run_module(
    module: Sequence[str], family: str, parts: Sequence[str], minutes: float
) -> tuple[list[dict[str, Any]], str]:
    """Run ``python -m MODULE ARGUMENTS FAMILY PART...``; returns the rows it prints, and how it ended."""
    command = [sys.executable, "-m", *module, family, *parts]
    try:
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * minutes)
        output, end = process.stdout, _end(process.returncode, process.stderr)
    except subprocess.TimeoutExpired as error:
        output, end = (error.stdout or b"").decode(), f"it took more than {minutes:g} minutes"
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")], end


def _end(code: int, errors: str) -> str:
    last = (errors.strip().splitlines() or ["nothing was printed"])[-1]
    return f"the process ended with {code}: {reason_of(last)}"

"""Export every family of mmsegmentation and write ``docs/support-matrix.md`` from what came out.

    python -m matrix                          every family that has not passed with these versions
    python -m matrix --family setr --again    some of them, measured or not
    python -m matrix --shard 1/2              every second one; two shards may run at the same time

Ctrl-C at any time: families that are measured are kept, and the next call goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from matrix.command import ROOT, chosen_families, measured_apart, parser
from matrix.document import render
from matrix.families import FAMILIES
from matrix.measure import versions
from matrix.rows import MODES, Row, add_rows, read_rows, row_of

DATA = ROOT / "docs" / "support-matrix.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, write the page; 1 if a row that was asked for fails."""
    options = parser("python -m matrix", __doc__, DATA).parse_args(arguments)
    chosen = chosen_families(options.family, options.shard)
    rows = read_rows(options.data, Row)
    made_by = versions()
    for family in chosen:
        if not options.again and all(_stands(rows.get((family, mode)), made_by) for mode in MODES):
            print(f"{family}: measured already", flush=True)
            continue
        for row in _measured(family, made_by, options.minutes):
            add_rows(options.data, [row], Row, render)
            print(_told(row), flush=True)
    rows = add_rows(options.data, [], Row, render)
    failed = [row for row in rows.values() if row.family in chosen and not row.passed]
    print(f"{options.data.with_suffix('.md')}: {len(chosen)} families, {len(failed)} rows fail")
    return 1 if failed else 0


def _stands(row: Row | None, made_by: dict[str, str]) -> bool:
    """Whether a row says what would be measured now; a failure is tried again."""
    if row is None or not row.passed:
        return False
    return row.versions == made_by and row.config == FAMILIES[row.family].config


def _measured(family: str, made_by: dict[str, str], minutes: float) -> Iterator[Row]:
    """The rows of one family; what its process did not get to failed, and why."""
    printed, end = measured_apart("matrix.measure", family, minutes)
    rows = [row_of(Row, data) for data in printed]
    yield from rows
    for mode in MODES:
        if mode not in {row.mode for row in rows}:
            yield Row(family, FAMILIES[family].config, mode, passed=False, reason=end, versions=made_by)


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

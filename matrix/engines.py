"""Build every family's engines with TensorRT-RTX and write ``docs/tensorrt-engines.md`` from what came out.

    python -m matrix.engines                      every family that has not passed with these versions
    python -m matrix.engines --family setr --again

Needs no GPU. Ctrl-C at any time: what is measured is kept, and the next call goes on from there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from matrix.command import ROOT, chosen_families, measured_apart, parser
from matrix.engine_measure import versions
from matrix.engine_rows import PRECISIONS, EngineRow, render
from matrix.families import FAMILIES
from matrix.rows import add_rows, read_rows, row_of

DATA = ROOT / "docs" / "tensorrt-engines.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is asked for, write the page; 1 if a row that was asked for fails."""
    options = parser("python -m matrix.engines", __doc__, DATA).parse_args(arguments)
    chosen = chosen_families(options.family, options.shard)
    rows = read_rows(options.data, EngineRow)
    made_by = versions()
    for family in chosen:
        if not options.again and all(
            _stands(rows.get((family, precision)), made_by) for precision in PRECISIONS
        ):
            print(f"{family}: built already", flush=True)
            continue
        for row in _measured(family, made_by, options.minutes):
            add_rows(options.data, [row], EngineRow, render)
            print(_told(row), flush=True)
    known = add_rows(options.data, [], EngineRow, render)
    failed = [row for row in known.values() if row.family in chosen and not row.passed]
    print(f"{options.data.with_suffix('.md')}: {len(chosen)} families, {len(failed)} rows fail")
    return 1 if failed else 0


def _stands(row: EngineRow | None, made_by: dict[str, str]) -> bool:
    """Whether a row says what would be measured now; a failure is tried again."""
    if row is None or not row.passed:
        return False
    return row.versions == made_by and row.config == FAMILIES[row.family].config


def _measured(family: str, made_by: dict[str, str], minutes: float) -> Iterator[EngineRow]:
    """The rows of one family; what its process did not get to failed, and why."""
    printed, end = measured_apart("matrix.engine_measure", family, minutes)
    rows = [row_of(EngineRow, data) for data in printed]
    yield from rows
    for precision in PRECISIONS:
        if precision not in {row.precision for row in rows}:
            yield EngineRow(
                family, FAMILIES[family].config, precision, passed=False, reason=end, versions=made_by
            )


def _told(row: EngineRow) -> str:
    if not row.passed:
        return f"{row.family} {row.precision}: FAILS: {row.reason}"
    return f"{row.family} {row.precision}: {row.megabytes:.1f} MB in {row.seconds:.1f} s"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped; the next call goes on from here")

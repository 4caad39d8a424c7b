"""``python -m fuzz_driver``: run generated cases and print what is wrong."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from fuzz_driver.report import run_cases


def main() -> None:
    """Run the cases that the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m fuzz_driver", description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--cases", type=int, default=0, help="how many cases")
    parser.add_argument("--case", type=int, action="append", help="only this one; may be repeated")
    parser.add_argument("--only", default="", help="only commands whose name contains this")
    parser.add_argument("--processes", type=int, default=1, help="how many run at the same time")
    parser.add_argument("--every", action="store_true", help="describe cases that are right, too")
    parser.add_argument("--plain", action="store_true", help="a new interpreter for each case")
    parser.add_argument("--folder", type=Path, help="keep the files here")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="segplug-fuzz-"))
    try:
        report = run_cases(
            folder,
            arguments.seed,
            arguments.case or range(arguments.first, arguments.first + arguments.cases),
            only=arguments.only,
            plain=lambda number: arguments.plain,
            processes=arguments.processes,
            every=arguments.every,
            say=print,
        )
        print(report.text())
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(1 if report.failed else 0)


main()

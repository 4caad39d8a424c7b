"""What the commands that measure every family have in common."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matrix.families import FAMILIES

__all__ = ["ROOT", "chosen_families", "measured_apart", "parser"]

ROOT = Path(__file__).resolve().parents[1]


def parser(prog: str, description: str | None, data: Path) -> argparse.ArgumentParser:
    """The flags of both commands."""
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


def measured_apart(module: str, family: str, minutes: float) -> tuple[list[dict[str, Any]], str]:
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

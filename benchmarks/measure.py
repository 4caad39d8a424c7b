"""Run commands as processes, and measure their time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

__all__ = ["OLD_TOOL", "PYTHON", "Usage", "data_folder", "median_of", "run", "show"]

PYTHON = sys.executable
OLD_TOOL = (PYTHON, str(Path(__file__).with_name("old_tool.py")))


@dataclass(frozen=True)
class Usage:
    """Time and memory of one finished process."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system."""
    peak_mb: float
    """Largest resident size, 10^6 bytes."""
    output: str
    """What it printed on stdout."""


def run(command: Sequence[str], *, cwd: str | Path | None = None) -> Usage:
    """Run one command. If it fails, the benchmark exits with the end of its stderr."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}\nended with {process.returncode}:\n{err.read()[-2000:]}")
        return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6, out.read())


def median_of(usages: Sequence[Usage], field: str) -> float:
    """The median of one field over several runs."""
    return median(getattr(usage, field) for usage in usages)


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=140).print(table)


def data_folder() -> Path:
    """The folder with the real images and weights."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("SEGPLUG_DATA", root.parent / "shared" / "data")).resolve()
    if not (folder / "models").is_dir():
        sys.exit(f"no real data at {folder}: set SEGPLUG_DATA to the folder that holds models/ and camvid/")
    return folder

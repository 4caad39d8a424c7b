"""The machine that a report was measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Machine", "this_machine"]


@dataclass(frozen=True)
class Machine:
    """The computer, and its load before the measurement."""

    processor: str
    cores: int
    """Processors that this process may use."""
    system: str
    python: str
    load: float | None
    """Load average of the last minute; ``None``: the system does not tell."""


def this_machine() -> Machine:
    """Describe the computer that this process runs on."""
    return Machine(
        processor=_processor(),
        cores=_cores(),
        system=platform.platform(terse=True),
        python=platform.python_version(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

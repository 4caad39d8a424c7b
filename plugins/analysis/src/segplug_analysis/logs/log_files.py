"""The files of a LOG, and the names of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segplug.errors import UsageError
from segplug.regular_files import is_regular, why_no_file

__all__ = ["log_files", "run_names"]

_PATTERNS = ("*.log.json", "scalars.json", "vis_data/scalars.json", "*/vis_data/scalars.json")
"""Patterns of log files in a folder; the first one with a match is used."""

_COMMON_PARTS = frozenset({"vis_data", "scalars", "log", ""})
"""Parts of paths that do not identify a run."""


def log_files(log: str) -> tuple[Path, ...]:
    """The files of one LOG, in the order in which they were written: a folder is one resumed run.

    Raises:
        UsageError: it does not exist, or it is a folder without logs.
    """
    path = Path(log)
    if not path.is_dir():
        if reason := why_no_file(path, "log"):
            raise UsageError(reason)
        return (path,)
    for pattern in _PATTERNS:
        found = tuple(sorted(file for file in path.glob(pattern) if is_regular(file)))
        if found:
            return found
    raise UsageError(f"the folder {log} has no log", hint=f"looked for {', '.join(_PATTERNS)}")


def run_names(logs: Sequence[str]) -> tuple[str, ...]:
    """The shortest ends of the paths that are different for all runs.

    Raises:
        UsageError: one log is named twice.
    """
    paths = [Path(log).resolve() for log in logs]
    twice = [log for log, path in zip(logs, paths, strict=True) if paths.count(path) > 1]
    if twice:
        raise UsageError(f"the log {twice[0]} is named twice")
    parts = [_naming_parts(path) for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = tuple("/".join(part[-length:]) for part in parts)
        if len(set(names)) == len(names):
            return names
    return tuple(logs)


def _naming_parts(path: Path) -> list[str]:
    name = path.name.removesuffix(".json").removesuffix(".log") if is_regular(path) else path.name
    return [part for part in (*path.parent.parts, name) if part not in _COMMON_PARTS and part != path.anchor]

"""The files of a LOG, and the names of runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from segplug.errors import UsageError
from segplug.regular_files import is_regular, why_no_file

__all__ = ["log_files", "run_names"]

_LISTED = 10
"""How many runs an error lists."""

_PATTERNS = ("*.log.json", "scalars.json", "vis_data/scalars.json", "*/vis_data/scalars.json")
"""Patterns of log files in a folder; the first one with a match is used."""

_TEXT = ".log"
_TEXT_LOGS = ("*.log", "*/*.log")
"""What both frameworks print: for people, not read here. The numbers are in another file beside it."""

_STARTED = re.compile(r"\d{8}_\d{6}")
"""mmengine names the folder of each start of a run by its time."""

_COMMON_PARTS = frozenset({"vis_data", "scalars", "log", ""})
"""Parts of paths that do not identify a run."""


def log_files(log: str) -> tuple[Path, ...]:
    """The files of one LOG, in the order in which they were written: a folder is one resumed run.

    A text log stands for the file with its numbers, if that lies beside it.

    Raises:
        UsageError: it does not exist, or it is a folder without logs, or with those of several runs.
    """
    path = Path(log)
    if not path.is_dir():
        if reason := why_no_file(path, "log"):
            raise UsageError(reason)
        return (_with_numbers(path),)
    for pattern in _PATTERNS:
        found = tuple(sorted(file for file in path.glob(pattern) if is_regular(file)))
        if found:
            _refuse_several_runs(log, path, found)
            return found
    runs = [folder.name for folder in sorted(path.glob("*")) if folder.is_dir() and _has_logs(folder)]
    if runs:
        raise _several(log, runs)
    if any(next(path.glob(pattern), None) for pattern in _TEXT_LOGS):
        raise UsageError(
            f"the folder {log} has only text logs (.log), which are not read",
            hint="mmcv writes a .log.json beside them, mmengine a vis_data/scalars.json",
        )
    raise UsageError(f"the folder {log} has no log", hint=f"looked for {', '.join(_PATTERNS)}")


def _with_numbers(path: Path) -> Path:
    """What mmcv or mmengine wrote beside a text log; other files, and text logs alone, as they are."""
    if path.suffix != _TEXT:
        return path
    beside = (path.with_name(f"{path.name}.json"), path.parent / "vis_data" / "scalars.json")
    return next((file for file in beside if is_regular(file)), path)


def _has_logs(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in _PATTERNS)


def _refuse_several_runs(log: str, path: Path, found: Sequence[Path]) -> None:
    """Refuse folders that are no starts of one run: joined, one would replace the points of the other."""
    folders = [file.relative_to(path).parts[0] for file in found if len(file.relative_to(path).parts) == 3]
    if len(folders) > 1 and not all(_STARTED.fullmatch(name) for name in folders):
        raise _several(log, folders)
    others = [file for file in path.glob(_PATTERNS[-1]) if is_regular(file)]
    if not folders and others:
        raise UsageError(
            f"the folder {log} has logs of mmcv and of mmengine, which are two runs",
            hint=f"name one: {found[0]}, or {others[0].parent.parent}",
        )


def _several(log: str, names: Sequence[str]) -> UsageError:
    shown = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    first = " ".join(str(Path(log) / name) for name in names[:2])
    return UsageError(f"the folder {log} holds several runs: {shown}", hint=f"name each: {first}")


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

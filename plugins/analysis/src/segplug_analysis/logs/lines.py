"""Read a log line by line, and count the lines that are no part of a log."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from segplug.errors import SegplugError
from segplug.progress import Progress
from segplug.regular_files import open_regular
from segplug_analysis.logs.series import is_loss, is_overall_score

__all__ = ["FileCounts", "LogLine", "key_names", "number_at", "read_lines"]

_LONGEST = 4 << 20
"""Largest length of a line in bytes. mmcv's first line has a whole config; longer lines are no log."""

_NUMBERED = ("epoch", "iter", "step")
_PLACES = frozenset({"mode", *_NUMBERED})
"""Keys that name the place of a line and are no curves."""

_FARTHEST = 10**12
"""Largest epoch or iteration; a line with a larger one has no place."""

_LONGEST_KEY = 200
"""Longer keys are not listed, but can be named with ``--keys``."""

_MEGABYTE = 1 << 20

_decode = json.JSONDecoder().decode


class LogLine(NamedTuple):
    """One line with numbers."""

    training: bool
    misnamed: bool
    """A validation that the log calls ``train``: it holds scores and no loss."""
    epoch: int | None
    iteration: int | None
    """``None``: unknown. In validation lines of mmcv, ``iter`` counts images, not iterations."""
    record: Mapping[str, Any]


@dataclass
class FileCounts:
    """How many lines of each kind one file has."""

    path: Path
    training: int = 0
    validation: int = 0
    other: int = 0
    """JSON without a place in the training: the environment, the config."""
    skipped: int = 0
    """Truncated, or no JSON."""
    misnamed: int = 0
    """How many of the validations the log calls ``train``."""

    @property
    def lines(self) -> int:
        return self.training + self.validation + self.other + self.skipped


def read_lines(counts: FileCounts, progress: Progress) -> Iterator[LogLine]:
    """The lines of ``counts.path`` that have numbers. All others are only counted.

    Args:
        counts: The counts of this file, updated while it is read.
        progress: Advances by one for each MiB.

    Raises:
        SegplugError: the file cannot be read.
    """
    for text in _raw_lines(counts.path, progress):
        line = _parsed(text)
        if line is None:
            counts.skipped += 1
        elif not isinstance(line, LogLine):
            counts.other += 1
        else:
            if line.training:
                counts.training += 1
            else:
                counts.validation += 1
                counts.misnamed += line.misnamed
            yield line


def _raw_lines(path: Path, progress: Progress) -> Iterator[bytes]:
    """Lines that are not blank. A line that is too long is truncated, and so no JSON."""
    seen = 0
    try:
        with open_regular(path) as opened:
            file = _as_utf8(opened)
            while line := file.readline(_LONGEST):
                seen += len(line)
                if len(line) == _LONGEST and not line.endswith(b"\n"):
                    seen += _skip_line(file)
                if seen >= _MEGABYTE:
                    progress.advance(seen // _MEGABYTE)
                    seen %= _MEGABYTE
                if not line.isspace():
                    yield line
    except OSError as error:
        raise SegplugError(f"cannot read the log {path}: {error.strerror or error}") from error


class _Lines(Protocol):
    def readline(self, limit: int, /) -> bytes: ...


def _as_utf8(file: BinaryIO) -> _Lines:
    """The file's lines in UTF-8. Windows' PowerShell writes UTF-16, with a byte order mark or without."""
    head = file.read(4)
    file.seek(0)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _Recoded(file, "utf-16")
    zeros = [byte == 0 for byte in head]  # of ASCII, with which JSON begins, every second byte
    if zeros == [False, True, False, True]:
        return _Recoded(file, "utf-16-le")
    return _Recoded(file, "utf-16-be") if zeros == [True, False, True, False] else file


class _Recoded:
    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._text = io.TextIOWrapper(file, encoding, errors="replace", newline="\n")

    def readline(self, limit: int, /) -> bytes:
        return self._text.readline(limit).encode("utf-8", "replace")


def _skip_line(file: _Lines) -> int:
    skipped = 0
    while rest := file.readline(_LONGEST):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def _parsed(text: bytes) -> LogLine | bool | None:
    """The line; ``False``: JSON without a place in the training; ``None``: no JSON object."""
    try:
        record = _decode(text.decode("utf-8-sig"))  # Windows editors write a byte order mark
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    if any(_is_number(record.get(key)) and abs(record[key]) > _FARTHEST for key in _NUMBERED):
        return False
    mode = record.get("mode")
    line = _of_mmengine(record) if mode is None else _of_mmcv(record, mode)
    return False if line is None else line


def _of_mmcv(record: dict[str, Any], mode: Any) -> LogLine | None:
    epoch, iteration = _whole(record.get("epoch")), _whole(record.get("iter"))
    if epoch is None and iteration is None:
        return None
    misnamed = mode == "train" and _is_validation(record)
    training = mode == "train" and not misnamed
    return LogLine(training, misnamed, epoch, iteration if training else None, record)


def _of_mmengine(record: dict[str, Any]) -> LogLine | None:
    """A training line has a learning rate, loss or iteration; a validation line has only metrics."""
    step = _whole(record.get("step"))
    if step is None:
        return None
    training = any(key in record for key in ("lr", "loss", "base_lr", "iter")) and not _is_validation(record)
    return LogLine(training, False, _whole(record.get("epoch")), step, record)


def _is_validation(record: Mapping[str, Any]) -> bool:
    """Whether it holds scores of a validation, and no loss, which a training has; whatever it is called."""
    if any(is_loss(key) for key in record):
        return False
    return any(is_overall_score(key) and _is_number(value) for key, value in record.items())


def _whole(value: Any) -> int | None:
    return int(value) if _is_number(value) and value % 1 == 0 else None


def _is_number(value: Any) -> bool:
    return type(value) in (float, int)  # true and false are no numbers


def number_at(record: Mapping[str, Any], key: str) -> float | None:
    """The number of a key, ``None`` if there is none: ``lr.backbone`` is ``record["lr"]["backbone"]``."""
    value = record.get(key)
    if value is None and "." in key:
        group, _, member = key.partition(".")
        value = dict(_members(record.get(group))).get(member)
    if not _is_number(value):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None


def key_names(record: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    """The keys that are not in ``known`` and have a number, as :func:`number_at` finds it."""
    for key in record.keys() - known - _PLACES:
        names = [key, *(f"{key}.{member}" for member, _ in _members(record[key]))]
        yield from (
            name for name in names if len(name) <= _LONGEST_KEY and number_at(record, name) is not None
        )


def _members(group: Any) -> Iterator[tuple[str, Any]]:
    """The values of parameter groups, which mmcv logs as a mapping or a list."""
    if isinstance(group, dict):
        yield from group.items()
    elif isinstance(group, list):
        yield from ((str(position), item) for position, item in enumerate(group))

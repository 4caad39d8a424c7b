"""The failures of a serving report, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segplug_analysis.serving.load import NO_ANSWER
from segplug_analysis.serving.masks import NOT_KEPT
from segplug_analysis.serving.measurements import Measurements
from segplug_analysis.serving.numbers import LevelNumbers

__all__ = ["failures_of", "status_text"]

_MAX_LINES = 20
"""How many lines are shown; the tables have the rest."""


def failures_of(measured: Measurements, numbers: Sequence[LevelNumbers]) -> Iterator[str]:
    """Wrong masks first, then requests without one."""
    lines = [*_wrong(measured), *_changed(measured), *_unanswered(numbers)]
    yield from lines[:_MAX_LINES]
    if len(lines) > _MAX_LINES:
        yield f"{len(lines) - _MAX_LINES} more failures, listed in the tables"


def _wrong(measured: Measurements) -> Iterator[str]:
    for one in measured.checks.agreements:
        for failure in one.comparison.failures:
            yield f"the mask of {measured.pictures[one.image].name}: {failure}"


def _changed(measured: Measurements) -> Iterator[str]:
    for change in measured.checks.changes:
        if change.problem:
            replies = _counted(measured.replies(change.image, change.position), "reply", "replies")
            yield f"under load, {replies} to {measured.pictures[change.image].name}: {change.problem}"
    for index, picture in enumerate(measured.pictures):
        if count := measured.replies(index, NOT_KEPT):
            yield (
                f"under load, {_counted(count, 'reply', 'replies')} to {picture.name}: "
                "other masks, too many to keep and check"
            )


def _unanswered(numbers: Sequence[LevelNumbers]) -> Iterator[str]:
    for each in numbers:
        clients = _counted(each.concurrency, "client", "clients")
        for (status, reason), count in sorted(each.errors.items()):
            requests = _counted(each.requests, "request", "requests")
            yield f"with {clients}, {count} of {requests}: {status_text(status)}: {reason}"
        if each.stopped_early:
            yield f"with {clients}, the level was stopped: too many requests had no answer"


def status_text(status: int) -> str:
    """An HTTP status, or ``no answer``."""
    return "no answer" if status == NO_ANSWER else str(status)


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"

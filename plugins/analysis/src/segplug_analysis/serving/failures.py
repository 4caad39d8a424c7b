"""What a server was to hold and does not, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segplug_analysis.serving.found import Found
from segplug_analysis.serving.load import NO_ANSWER
from segplug_analysis.serving.masks import UNKEPT
from segplug_analysis.serving.numbers import LevelNumbers

__all__ = ["failures_of", "status_text"]

_MOST = 20
"""Lines; the tables have the rest."""


def failures_of(found: Found, numbers: Sequence[LevelNumbers]) -> Iterator[str]:
    """Wrong masks first, then requests without one."""
    lines = [*_wrong(found), *_changed(found), *_unanswered(numbers)]
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"{len(lines) - _MOST} more, which the tables show"


def _wrong(found: Found) -> Iterator[str]:
    for one in found.judgement.agreements:
        for failure in one.comparison.failures:
            yield f"the mask of {found.pictures[one.image].name}: {failure}"


def _changed(found: Found) -> Iterator[str]:
    for change in found.judgement.changes:
        if change.problem:
            replies = _counted(found.replies(change.image, change.place), "reply", "replies")
            yield f"under load, {replies} to {found.pictures[change.image].name}: {change.problem}"
    for index, picture in enumerate(found.pictures):
        if count := found.replies(index, UNKEPT):
            yield (
                f"under load, {_counted(count, 'reply', 'replies')} to {picture.name}: "
                "yet other masks, more than were kept to look at"
            )


def _unanswered(numbers: Sequence[LevelNumbers]) -> Iterator[str]:
    for each in numbers:
        clients = _counted(each.concurrency, "client", "clients")
        for (status, reason), count in sorted(each.errors.items()):
            requests = _counted(each.requests, "request", "requests")
            yield f"with {clients}, {count} of {requests}: {status_text(status)}: {reason}"
        if each.given_up:
            yield f"with {clients}, the level was given up: too many requests had no answer"


def status_text(status: int) -> str:
    """An HTTP status, or that there was none."""
    return "no answer" if status == NO_ANSWER else str(status)


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"

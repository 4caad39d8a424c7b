"""Numbers of one level."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segplug_analysis.benchmark.statistics import percentile
from segplug_analysis.serving.load import PARTS, Level
from segplug_analysis.serving.masks import FIRST

__all__ = ["Errors", "Inside", "Latency", "LevelNumbers", "numbers_of"]

Errors = Mapping[tuple[int, str], int]
"""Status and reason to the number of requests."""


@dataclass(frozen=True)
class Latency:
    """At the client, seconds."""

    p50: float
    p90: float
    p95: float
    p99: float
    maximum: float
    mean: float


@dataclass(frozen=True)
class Inside:
    """Medians of what the server says of its time, and of what is left, seconds."""

    parts: Mapping[str, float]
    overhead: float
    overhead_p95: float
    batches: Mapping[int, int]
    """Images that were run together, and how many requests say so."""

    @property
    def mean_batch(self) -> float | None:
        """Of the batches that the requests were in."""
        count = sum(self.batches.values())
        return sum(size * number for size, number in self.batches.items()) / count if count else None


@dataclass(frozen=True)
class LevelNumbers:
    """One level. Times are those of timed requests that were answered with a mask."""

    concurrency: int
    requests: int
    """All of them, the warm-up included."""
    answered: int
    """Timed ones that were answered with a mask."""
    per_second: float
    latency: Latency | None
    """``None``: no request was answered."""
    inside: Inside | None
    """``None``: the server says nothing of its time."""
    errors: Errors
    """Of all requests, the warm-up included."""
    changed: int
    """Requests of all, the warm-up included, that were answered with another mask than the image's first."""
    given_up: bool


def numbers_of(level: Level) -> LevelNumbers:
    """What a level comes to."""
    good = [one for one in level.timed if one.mask is not None]
    failed = ((one.status, one.reason) for one in level.all if one.mask is None)
    return LevelNumbers(
        concurrency=level.concurrency,
        requests=len(level.all),
        answered=len(good),
        per_second=len(good) / level.seconds,
        latency=_latency([one.seconds for one in good]),
        inside=_inside(level),
        errors=Counter(failed),
        changed=sum(one.mask not in (None, FIRST) for one in level.all),
        given_up=level.given_up,
    )


def _latency(seconds: Sequence[float]) -> Latency | None:
    if not seconds:
        return None
    p50, p90, p95, p99 = (percentile(seconds, share) for share in (0.5, 0.9, 0.95, 0.99))
    return Latency(p50, p90, p95, p99, max(seconds), statistics.fmean(seconds))


def _inside(level: Level) -> Inside | None:
    told = [(one, one.overhead) for one in level.timed if one.mask is not None]
    overheads = [overhead for _, overhead in told if overhead is not None]
    if not overheads:
        return None
    known = [one for one, overhead in told if overhead is not None]
    return Inside(
        parts={part: statistics.median(one.parts[part] for one in known) for part in PARTS},
        overhead=statistics.median(overheads),
        overhead_p95=percentile(overheads, 0.95),
        batches=dict(sorted(Counter(one.batch for one in known if one.batch is not None).items())),
    )

"""The numbers of one level."""

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
"""How many requests failed, by status and reason."""


@dataclass(frozen=True)
class Latency:
    """Latency at the client, in seconds."""

    p50: float
    p90: float
    p95: float
    p99: float
    maximum: float
    mean: float


@dataclass(frozen=True)
class Inside:
    """Medians of the times that the server reports, and of the rest, in seconds."""

    parts: Mapping[str, float]
    overhead: float
    overhead_p95: float
    batches: Mapping[int, int]
    """Batch size to the number of requests that were in such a batch."""

    @property
    def mean_batch(self) -> float | None:
        """Mean size of the batches that the requests were in."""
        count = sum(self.batches.values())
        return sum(size * number for size, number in self.batches.items()) / count if count else None


@dataclass(frozen=True)
class LevelNumbers:
    """One level. The times are those of timed requests that were answered with a mask."""

    concurrency: int
    requests: int
    """All requests, with the warm-up."""
    answered: int
    """Timed requests that were answered with a mask."""
    per_second: float
    latency: Latency | None
    """``None``: no request was answered."""
    inside: Inside | None
    """``None``: the server does not report its times."""
    errors: Errors
    """Errors of all requests, with the warm-up."""
    changed: int
    """Requests that were answered with another mask than the image's first, with the warm-up."""
    stopped_early: bool


def numbers_of(level: Level) -> LevelNumbers:
    """The numbers of a level."""
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
        stopped_early=level.stopped_early,
    )


def _latency(seconds: Sequence[float]) -> Latency | None:
    if not seconds:
        return None
    p50, p90, p95, p99 = (percentile(seconds, share) for share in (0.5, 0.9, 0.95, 0.99))
    return Latency(p50, p90, p95, p99, max(seconds), statistics.fmean(seconds))


def _inside(level: Level) -> Inside | None:
    timed = [(one, one.overhead) for one in level.timed if one.mask is not None]
    overheads = [overhead for _, overhead in timed if overhead is not None]
    if not overheads:
        return None
    known = [one for one, overhead in timed if overhead is not None]
    return Inside(
        parts={part: statistics.median(one.parts[part] for one in known) for part in PARTS},
        overhead=statistics.median(overheads),
        overhead_p95=percentile(overheads, 0.95),
        batches=dict(sorted(Counter(one.batch for one in known if one.batch is not None).items())),
    )

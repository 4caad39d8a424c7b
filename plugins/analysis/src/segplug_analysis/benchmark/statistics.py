"""Statistics of the run times."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from segplug_analysis.benchmark.measure import Measured

__all__ = ["Row", "Summary", "percentile", "summarise"]


@dataclass(frozen=True)
class Summary:
    """One candidate's timed runs. Times are seconds."""

    median: float
    p95: float
    mean: float
    deviation: float
    """Standard deviation of all runs."""
    round_medians: tuple[float, ...]
    images_per_second: float
    """All images of the timed runs over all their time."""
    ratios: tuple[float, ...]
    """In each round, its median over the first candidate's."""

    @property
    def drift(self) -> float:
        """Largest less smallest median of a round, divided by the median of all runs."""
        return (max(self.round_medians) - min(self.round_medians)) / self.median

    @property
    def ratio(self) -> float:
        """Median of the rounds' ratios: a machine that is slower for a whole round cancels out."""
        return statistics.median(self.ratios)


Row = tuple[Measured, Summary]
"""One candidate: what was measured, and its statistics."""


def summarise(measured: Measured, first: Measured) -> Summary:
    """The statistics of one candidate, with its ratio to the first."""
    seconds = [second for block in measured.rounds for second in block]
    medians = tuple(statistics.median(block) for block in measured.rounds)
    beside = (statistics.median(block) for block in first.rounds)
    return Summary(
        median=statistics.median(seconds),
        p95=percentile(seconds, 0.95),
        mean=statistics.fmean(seconds),
        deviation=statistics.stdev(seconds) if len(seconds) > 1 else 0.0,
        round_medians=medians,
        images_per_second=measured.shape[0] * len(seconds) / sum(seconds),
        ratios=tuple(own / other for own, other in zip(medians, beside, strict=True)),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie, interpolated linearly."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

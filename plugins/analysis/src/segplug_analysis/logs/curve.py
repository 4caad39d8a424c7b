"""One curve in bounded memory, built point by point.

A curve has its points in bins. A bin has one point at first; when there are too many bins, every two become
one. The first, mean, lowest, highest and last value stay exact, so that a log of any length keeps its shape
and its extremes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["CAPACITY", "LARGEST", "Bin", "Curve", "Place", "is_drawable"]

CAPACITY = 1024
"""Largest number of bins of a curve: about the width of a picture in pixels."""

LARGEST = 1e100
"""The largest value that is drawn. Sums of millions of them are finite; float32 values are far smaller."""


def is_drawable(value: float) -> bool:
    """Whether a value can be summed and drawn: finite, and not larger than :data:`LARGEST`."""
    return abs(value) <= LARGEST  # also false for NaN


class Place(NamedTuple):
    """The place of a point in the training."""

    epoch: int
    iteration: int
    """Since the start of the training, or of the epoch in runs that count epochs."""
    ends_epoch: bool = False
    """After a whole epoch of which no iteration was logged; ``iteration`` is that of an earlier epoch."""


@dataclass(slots=True)
class Bin:
    """Consecutive points. Values that cannot be drawn are only counted.

    Mutable for speed, because a log may have millions of points; only the last bin of a curve changes.
    """

    start: Place
    end: Place
    low_at: Place
    high_at: Place
    first: float
    last: float
    points: int = 0
    finite: int = 0
    total: float = 0.0
    """Sum of the finite values."""
    low: float = math.inf
    high: float = -math.inf
    smooth_total: float = 0.0
    """Sum of the moving average at the finite values."""
    average: float = 0.0
    """The moving average after the last point, biased towards 0 by the factor ``weight``."""
    weight: float = 0.0
    """The total weight of the points in ``average``."""

    @property
    def mean(self) -> float:
        return self.total / self.finite if self.finite else math.nan

    @property
    def smoothed(self) -> float:
        return self.smooth_total / self.finite if self.finite else math.nan

    def take(self, place: Place, value: float, smooth: float) -> None:
        """Add one point."""
        self.end, self.last = place, value
        self.points += 1
        if not is_drawable(value):
            return
        self.finite += 1
        self.total += value
        if value < self.low:
            self.low, self.low_at = value, place
        if value > self.high:
            self.high, self.high_at = value, place
        self.average = smooth * self.average + (1 - smooth) * value
        self.weight = smooth * self.weight + (1 - smooth)
        self.smooth_total += self.average / self.weight

    def join(self, later: Bin) -> None:
        """Add the points of the next bin."""
        self.end, self.last = later.end, later.last
        self.points += later.points
        self.finite += later.finite
        self.total += later.total
        if later.low < self.low:
            self.low, self.low_at = later.low, later.low_at
        if later.high > self.high:
            self.high, self.high_at = later.high, later.high_at
        self.smooth_total += later.smooth_total
        self.average, self.weight = later.average, later.weight


@dataclass
class Curve:
    """The points of one key, of training or of validation lines.

    Args:
        smooth: Weight of the past in the exponential moving average, in [0, 1).
    """

    smooth: float = 0.0
    bins: list[Bin] = field(default_factory=list)
    width: int = 1
    """How many points a full bin has."""
    replaced: int = 0
    """How many points a resumed run computed again."""

    def add(self, place: Place, value: float) -> None:
        """Add the next point. Several points can have the same place; only :meth:`rewind` removes points."""
        bins = self.bins
        if not bins or bins[-1].points >= self.width:
            self._open(place, value)
        self.bins[-1].take(place, value, self.smooth)

    def rewind(self, stays: Callable[[Place], bool]) -> list[Bin]:
        """Remove the bins at the end whose start is not accepted by ``stays``, and return them in order.

        The moving average continues from the last remaining bin. A bin of several points that starts before
        the place and ends after it stays, so at most one bin has older points.
        """
        removed: list[Bin] = []
        while self.bins and not stays(self.bins[-1].start):
            removed.append(self.bins.pop())
        self.replaced += sum(part.points for part in removed)
        return removed[::-1]

    def extend(self, bins: Iterable[Bin]) -> None:
        """Add bins of another curve."""
        for part in bins:
            if len(self.bins) == CAPACITY:
                self._join_pairs()
            self.bins.append(part)

    def _join_pairs(self) -> None:
        self.width *= 2
        for left, right in zip(self.bins[::2], self.bins[1::2], strict=True):
            left.join(right)
        del self.bins[1::2]

    def _open(self, place: Place, value: float) -> None:
        if len(self.bins) == CAPACITY:
            self._join_pairs()
        opened = Bin(place, place, place, place, value, value)
        if self.bins:
            opened.average, opened.weight = self.bins[-1].average, self.bins[-1].weight
        self.bins.append(opened)

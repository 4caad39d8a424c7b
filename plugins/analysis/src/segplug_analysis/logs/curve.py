"""One curve in bounded memory, fed point by point.

A curve keeps its points in bins. A bin holds one point at first; when there are too many bins, each two
become one. What a bin says of its points (first, mean, lowest, highest, last) survives that exactly, so
that a log of any length keeps its shape and its extremes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["CAPACITY", "LARGEST", "Bin", "Curve", "Place", "is_drawable"]

CAPACITY = 1024
"""Bins of a curve, about what a picture is wide in pixels."""

LARGEST = 1e100
"""Sums and differences of millions of such numbers still are numbers. No float32 comes near."""


def is_drawable(value: float) -> bool:
    """Whether a value is a number that can be added up and drawn: finite, and not absurdly large."""
    return abs(value) <= LARGEST  # false for NaN, too


class Place(NamedTuple):
    """Where a point stands in the training."""

    epoch: int
    iteration: int
    """Since the start; since the start of the epoch in runs that count by epochs."""
    ends_epoch: bool = False
    """Stands after the whole epoch, of which no iteration was logged; ``iteration`` is an earlier one's."""


@dataclass(slots=True)
class Bin:
    """Points that follow one another. Values that cannot be drawn count as points and nothing more.

    The only thing that changes in place, and only the last one of a curve: a long log has millions of points.
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
    """Sum of the finite ones."""
    low: float = math.inf
    high: float = -math.inf
    smooth_total: float = 0.0
    """Sum of the moving average at the finite ones."""
    average: float = 0.0
    """The moving average after the last point, still biased towards 0 ..."""
    weight: float = 0.0
    """... by this factor: how much of it is made of points."""

    @property
    def mean(self) -> float:
        return self.total / self.finite if self.finite else math.nan

    @property
    def smoothed(self) -> float:
        return self.smooth_total / self.finite if self.finite else math.nan

    def take(self, place: Place, value: float, smooth: float) -> None:
        """One more point."""
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
        """The points of the next bin, too."""
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
    """Points of a full bin."""
    replaced: int = 0
    """Points that a resumed run computed again."""

    def add(self, place: Place, value: float) -> None:
        """The next point. Several can stand at one place: only :meth:`rewind` takes points away."""
        bins = self.bins
        if not bins or bins[-1].points >= self.width:
            self._open(place, value)
        self.bins[-1].take(place, value, self.smooth)

    def rewind(self, stays: Callable[[Place], bool]) -> None:
        """Drop the bins at the end that do not start where ``stays`` says so.

        The moving average goes on from what it was there. A bin of several points that starts before
        and ends after stays: at most one bin of older points is left.
        """
        while self.bins and not stays(self.bins[-1].start):
            self.replaced += self.bins.pop().points

    def _open(self, place: Place, value: float) -> None:
        if len(self.bins) == CAPACITY:
            self.width *= 2
            for left, right in zip(self.bins[::2], self.bins[1::2], strict=True):
                left.join(right)
            del self.bins[1::2]
        opened = Bin(place, place, place, place, value, value)
        if self.bins:
            opened.average, opened.weight = self.bins[-1].average, self.bins[-1].weight
        self.bins.append(opened)

"""Curves as they are shown: named, on one axis, sorted into panels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from segplug_analysis.logs.curve import Bin, Place, is_drawable

__all__ = [
    "Series",
    "Unit",
    "is_loss",
    "is_percent",
    "is_score",
    "panels_of",
    "scale_of",
    "without_values",
]

Unit = Literal["iteration", "epoch"]
"""What the horizontal axis counts."""

_SCORES = ("miou", "macc", "aacc", "iou", "acc", "mdice", "dice", "mfscore", "fscore")
_SCORE_PARTS = ("mprecision", "precision", "mrecall", "recall", "acc_seg")

_PERCENT = 1.5
"""A run of which a score exceeds this has percent, as mmengine and ``acc_seg`` do; others have fractions."""


@dataclass(frozen=True)
class Series:
    """One curve, ready to be drawn. Positions are in the report's unit; parts are the curve's bins."""

    run: str
    key: str
    mode: str
    label: str
    unit: Unit
    width: int
    """Points of the log in one of this curve's."""
    parts: tuple[Bin, ...]
    x: tuple[float, ...]
    """Of each part's end."""
    x_of: Mapping[Place, float]
    """Of the extremes."""
    smooth: bool
    """Whether the values to look at are those of the moving average."""
    percent: bool
    """Whether the run's scores are in percent: one class's alone may be 0 throughout."""

    @property
    def points(self) -> int:
        return sum(part.points for part in self.parts)

    @property
    def values(self) -> tuple[float, ...]:
        """What the line goes through: the moving average, or each part's mean."""
        return self.smoothed if self.smooth else self.means

    @property
    def means(self) -> tuple[float, ...]:
        return tuple(part.mean for part in self.parts)

    @property
    def smoothed(self) -> tuple[float, ...]:
        return tuple(part.smoothed for part in self.parts)

    @property
    def best(self) -> tuple[float, float] | None:
        """The best value and its position; ``None`` where better and worse mean nothing."""
        finite = [part for part in self.parts if part.finite]
        if not finite:
            return None
        if is_loss(self.key):
            part = min(finite, key=lambda part: part.low)
            return part.low, self.x_of[part.low_at]
        if is_score(self.key):
            part = max(finite, key=lambda part: part.high)
            return part.high, self.x_of[part.high_at]
        return None

    @property
    def panel(self) -> str:
        """What the vertical axis of this curve says: curves of one panel can share it."""
        if is_loss(self.key):
            return "loss"
        if not is_score(self.key):
            return self.key
        return "score (%)" if self.percent else "score (0 to 1)"

    def to_dict(self) -> dict[str, Any]:
        """JSON types; ``x`` is in the report's unit, the values in the log's own."""
        best = self.best
        return {
            "run": self.run,
            "key": self.key,
            "mode": self.mode,
            "label": self.label,
            "points": self.points,
            "points_per_part": self.width,
            "first": self.parts[0].first,
            "last": self.parts[-1].last,
            "best": best and best[0],
            "best_at": best and best[1],
            "x": list(self.x),
            "mean": list(self.means),
            "min": [part.low for part in self.parts],
            "max": [part.high for part in self.parts],
            "smoothed": list(self.smoothed) if self.smooth else None,
        }


def is_loss(key: str) -> bool:
    """Whether less is better."""
    return "loss" in key.lower()


@lru_cache(maxsize=2048)  # asked of every number of a log
def is_score(key: str) -> bool:
    """Whether more is better: mmsegmentation's metrics, in all or of one class (``IoU.road``)."""
    words = key.lower().split(".")
    return words[0] in _SCORES or any(part in words for part in _SCORE_PARTS)


def is_percent(key: str, value: Any) -> bool:
    """Whether this is a score that no fraction can be."""
    return is_score(key) and type(value) in (float, int) and _PERCENT < value < math.inf


def scale_of(key: str) -> str:
    """Scores of one scale are in percent all together: ``acc_seg`` always is, beside fractions of mIoU."""
    return "acc_seg" if "acc_seg" in key else ""


def panels_of(series: Sequence[Series]) -> dict[str, list[Series]]:
    """The curves that share a vertical axis, under what it says."""
    panels: dict[str, list[Series]] = {}
    for one in series:
        panels.setdefault(one.panel, []).append(one)
    return panels


def without_values(series: Sequence[Series], *, positive: bool) -> list[str]:
    """Labels of the curves of which nothing can be drawn: on a log axis, if ``positive``."""
    return [
        one.label
        for one in series
        if not any(is_drawable(value) and (value > 0 or not positive) for value in one.values)
    ]

"""Curves as they are shown: with labels, on one axis, in panels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from segplug_analysis.logs.curve import Bin, Place, is_drawable

__all__ = [
    "REPLACED",
    "Series",
    "Unit",
    "is_loss",
    "is_overall_score",
    "is_percent",
    "is_score",
    "panels_of",
    "scale_of",
    "without_values",
]

REPLACED = ", replaced"
"""The end of the mode of points that a resumed run computed again."""

Unit = Literal["iteration", "epoch"]
"""The unit of the horizontal axis."""

_SCORES = ("miou", "macc", "aacc", "iou", "acc", "mdice", "dice", "mfscore", "fscore")
_SCORE_PARTS = ("mprecision", "precision", "mrecall", "recall", "acc_seg")

_PERCENT = 1.5
"""Scores of a run are in percent if one exceeds this, as in mmengine and ``acc_seg``; else fractions."""


@dataclass(frozen=True)
class Series:
    """One curve to draw. Positions are in the report's unit; parts are the bins of the curve."""

    run: str
    key: str
    mode: str
    """``train`` or ``val``; ``train, replaced``: points that a resumed run computed again."""
    label: str
    unit: Unit
    width: int
    """How many points of the log one point of this curve stands for."""
    parts: tuple[Bin, ...]
    x: tuple[float, ...]
    """Position of each part's end."""
    x_of: Mapping[Place, float]
    """Positions of the extremes."""
    smooth: bool
    """Whether the moving average is drawn."""
    percent: bool
    """Whether the run's scores are in percent. One curve cannot tell: its values may all be 0."""

    @property
    def replaced(self) -> bool:
        """Whether these are points that a resumed run computed again."""
        return self.mode.endswith(REPLACED)

    @property
    def points(self) -> int:
        return sum(part.points for part in self.parts)

    @property
    def values(self) -> tuple[float, ...]:
        """The values of the line: the moving average, or each part's mean."""
        return self.smoothed if self.smooth else self.means

    @property
    def means(self) -> tuple[float, ...]:
        return tuple(part.mean for part in self.parts)

    @property
    def smoothed(self) -> tuple[float, ...]:
        return tuple(part.smoothed for part in self.parts)

    @property
    def best(self) -> tuple[float, float] | None:
        """The best value and its position; ``None``: the key is neither a loss nor a score."""
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
        """The label of the vertical axis. Curves with the same label share a panel."""
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


@lru_cache(maxsize=2048)  # called for every number of a log
def is_score(key: str) -> bool:
    """Whether more is better: mmsegmentation's metrics, overall or of one class (``IoU.road``)."""
    words = key.lower().split(".")
    return words[0] in _SCORES or any(part in words for part in _SCORE_PARTS)


def is_overall_score(key: str) -> bool:
    """Whether it is a score of all classes that only a validation computes: ``mIoU``."""
    return key.lower() in ("miou", "macc", "aacc", "mdice", "mfscore")


def is_percent(key: str, value: Any) -> bool:
    """Whether this is a score that must be in percent: it is too large for a fraction."""
    return is_score(key) and type(value) in (float, int) and _PERCENT < value < math.inf


def scale_of(key: str) -> str:
    """A group of keys with one scale: ``acc_seg`` is always in percent, also where mIoU is a fraction."""
    return "acc_seg" if "acc_seg" in key else ""


def panels_of(series: Sequence[Series]) -> dict[str, list[Series]]:
    """The curves by panel."""
    panels: dict[str, list[Series]] = {}
    for one in series:
        panels.setdefault(one.panel, []).append(one)
    return panels


def without_values(series: Sequence[Series], *, positive: bool) -> list[str]:
    """Labels of the curves without any value to draw; ``positive``: on a log axis."""
    return [
        one.label
        for one in series
        if not any(is_drawable(value) and (value > 0 or not positive) for value in one.values)
    ]

"""A run's scores and times, as a parity report shows and saves them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segplug.scores import RunReport

__all__ = ["METRICS", "RunNumbers", "points_of", "score_of"]

METRICS = ("mIoU", "mAcc", "aAcc")


@dataclass(frozen=True)
class RunNumbers:
    """A run's scores and times, in JSON types."""

    scores: Mapping[str, float | None]
    """By name, as fractions; ``None``: the score is not defined."""
    classes: tuple[str, ...]
    images: int
    resumed: int
    """How many of the images an interrupted run had finished before."""
    engine_ms_per_image: float | None
    """Mean over the images of this run, without the resumed ones; ``None``: there were none."""
    images_per_second: float | None
    warnings: tuple[str, ...]
    reused: bool = False
    """Whether these are the saved numbers of a run that had finished before."""

    @classmethod
    def of(cls, report: RunReport) -> RunNumbers:
        scores = report.scores.metrics if report.scores is not None else {}
        ran = report.images - report.resumed
        return cls(
            scores={name: value if math.isfinite(value) else None for name, value in scores.items()},
            classes=report.scores.classes if report.scores is not None else (),
            images=report.images,
            resumed=report.resumed,
            engine_ms_per_image=1e3 * report.engine_seconds / ran if ran else None,
            images_per_second=report.images_per_second if ran else None,
            warnings=report.warnings,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunNumbers:
        """The inverse of :meth:`to_dict`, for saved numbers."""
        known = {**data, "classes": tuple(data["classes"]), "warnings": tuple(data["warnings"])}
        return cls(**{**known, "reused": True})

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)


def score_of(run: RunNumbers | None, metric: str) -> float | None:
    return None if run is None else run.scores.get(metric)


def points_of(run: RunNumbers | None, reference: RunNumbers, metric: str) -> float | None:
    """The difference in points: percentage points for a score in percent."""
    ours, theirs = score_of(run, metric), score_of(reference, metric)
    return None if ours is None or theirs is None else 100 * (ours - theirs)

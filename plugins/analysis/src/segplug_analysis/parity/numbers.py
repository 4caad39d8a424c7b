"""What a run's report says, as the tables and the data of a parity report want it."""

from __future__ import annotations

from collections.abc import Sequence

from segplug.runtime.pipeline import RunReport

__all__ = ["METRICS", "classes_of", "points_of", "score_of", "speed_of"]

METRICS = ("mIoU", "mAcc", "aAcc")


def score_of(report: RunReport | None, metric: str) -> float | None:
    return None if report is None or report.scores is None else report.scores.metrics.get(metric)


def points_of(report: RunReport | None, reference: RunReport, metric: str) -> float | None:
    """The difference in points: hundredths of the metric."""
    ours, theirs = score_of(report, metric), score_of(reference, metric)
    return None if ours is None or theirs is None else 100 * (ours - theirs)


def speed_of(report: RunReport | None) -> tuple[float | None, float | None]:
    """Milliseconds of the engine for one image, and images per second of the whole run."""
    if report is None or report.images == report.resumed:
        return None, None
    return 1e3 * report.engine_seconds / (report.images - report.resumed), report.images_per_second


def classes_of(report: RunReport) -> Sequence[str]:
    return report.scores.classes if report.scores is not None else ()

"""The data of a serving report, in JSON types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from segplug_analysis.serving.load import Level
from segplug_analysis.serving.numbers import LevelNumbers

if TYPE_CHECKING:
    from segplug_analysis.serving.measurements import Measurements

__all__ = ["as_data"]


def as_data(measured: Measurements, numbers: Sequence[LevelNumbers]) -> dict[str, Any]:
    """Settings, each image's agreement, each level's numbers and times in milliseconds."""
    plan = measured.plan
    return {
        "url": plan.url,
        "served": {
            "name": measured.meta.name,
            "classes": list(measured.meta.classes),
            "views_left_out": len(measured.meta.default_tta),
            "approximations": list(measured.meta.approximations),
        },
        "reference": None
        if measured.model is None
        else {
            "name": measured.model.name,
            "device": measured.device,
            "threads": measured.threads,
            "approximations": list(measured.model.approximations),
        },
        "settings": {"requests": plan.requests, "warmup": plan.warmup, "timeout_seconds": plan.timeout},
        "images": [_image(measured, index) for index in range(len(measured.pictures))],
        "levels": [_level(each, level) for each, level in zip(numbers, measured.levels, strict=True)],
    }


def _image(measured: Measurements, index: int) -> dict[str, Any]:
    picture = measured.pictures[index]
    return {
        "name": picture.name,
        "height": picture.size[0],
        "width": picture.size[1],
        "bytes": len(picture.content),
        "agreement": next(
            (
                {
                    "pixels": one.served.size,
                    "pixels_differing": one.differing,
                    "share": 1 - one.differing / one.served.size,
                    "firm_pixels_differing": one.firm_differing,
                    "comparison": one.comparison.to_dict(),
                }
                for one in measured.checks.agreements
                if one.image == index
            ),
            None,
        ),
        "other_masks": [
            {
                "replies": measured.replies(index, change.position),
                "pixels_differing": change.differing,
                "problem": change.problem or None,
            }
            for change in measured.checks.changes
            if change.image == index
        ],
    }


def _level(each: LevelNumbers, level: Level) -> dict[str, Any]:
    inside = each.inside
    return {
        "clients": each.concurrency,
        "seconds": level.seconds,
        "requests": each.requests,
        "answered": each.answered,
        "images_per_second": each.per_second,
        "latency_ms": None
        if each.latency is None
        else {name: 1e3 * value for name, value in asdict(each.latency).items()},
        "inside_ms": None
        if inside is None
        else {
            **{part: 1e3 * seconds for part, seconds in inside.parts.items()},
            "overhead": 1e3 * inside.overhead,
            "overhead_p95": 1e3 * inside.overhead_p95,
        },
        "batches": None if inside is None else {str(size): count for size, count in inside.batches.items()},
        "errors": [
            {"status": status or None, "reason": reason, "requests": count}
            for (status, reason), count in sorted(each.errors.items())
        ],
        "other_masks": each.changed,
        "stopped_early": each.stopped_early,
        "times_ms": [1e3 * one.seconds for one in level.timed if one.mask is not None],
    }

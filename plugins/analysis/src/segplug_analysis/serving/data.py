"""A serving report's data: JSON types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from segplug_analysis.serving.load import Level
from segplug_analysis.serving.numbers import LevelNumbers

if TYPE_CHECKING:
    from segplug_analysis.serving.found import Found

__all__ = ["as_data"]


def as_data(found: Found, numbers: Sequence[LevelNumbers]) -> dict[str, Any]:
    """Settings, each image's agreement, each level's numbers and times. Milliseconds."""
    plan = found.plan
    return {
        "url": plan.url,
        "served": {"name": found.meta.name, "classes": list(found.meta.classes)},
        "reference": None
        if found.model is None
        else {"name": found.model.name, "device": found.device, "threads": found.threads},
        "settings": {"requests": plan.requests, "warmup": plan.warmup, "timeout_seconds": plan.timeout},
        "images": [_image(found, index) for index in range(len(found.pictures))],
        "levels": [_level(each, level) for each, level in zip(numbers, found.levels, strict=True)],
    }


def _image(found: Found, index: int) -> dict[str, Any]:
    picture = found.pictures[index]
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
                for one in found.judgement.agreements
                if one.image == index
            ),
            None,
        ),
        "other_masks": [
            {
                "replies": found.replies(index, change.place),
                "pixels_differing": change.differing,
                "problem": change.problem or None,
            }
            for change in found.judgement.changes
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
        "given_up": each.given_up,
        "times_ms": [1e3 * one.seconds for one in level.timed if one.mask is not None],
    }

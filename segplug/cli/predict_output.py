"""What ``segplug predict`` prints: classes with their shares, the files, and all of it as JSON."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.cli.output import Output
from segplug.text import counted

if TYPE_CHECKING:
    from segplug.api.predict_files import PredictedVideo, PredictionSink
    from segplug.installed import Provider
    from segplug.legend import LegendEntry
    from segplug.scores import RunReport

__all__ = ["ImageResults", "print_results", "results_document"]

_SHOWN = 10
"""Images that are listed; the JSON document has all."""


@dataclass(frozen=True)
class ImageResults:
    """The results of all images."""

    predicted: PredictionSink
    report: RunReport


def print_results(
    output: Output, folder: Path, images: ImageResults | None, videos: Sequence[PredictedVideo]
) -> None:
    """Print the results for people."""
    if images is not None:
        _print_images(output, folder, images)
    for video in videos:
        _print_video(output, video)


def _print_images(output: Output, folder: Path, images: ImageResults) -> None:
    from segplug.api.segmentation import shares_text

    count = len(images.predicted)
    first, *others = itertools.islice(images.predicted, _SHOWN)
    if others:
        for item in (first, *others):
            output.say(f"{item.name}: {shares_text(item.legend)}")
        if count > _SHOWN:
            output.say(f"and {count - _SHOWN} more (--json lists all)")
        output.say(f"all {count} images:")
    else:
        output.say("{}: {}x{}".format(first.name, *first.size))
    output.legend(images.predicted.legend)
    for skipped in images.report.skipped:
        output.say(f"skipped: {skipped.reason}")
    if images.report.views:
        output.say(f"test-time augmentation: the probabilities of {images.report.views} views are averaged")
    for line in images.report.approximations:
        output.say(f"approximate: {line}")
    if others:
        output.say(f"wrote {counted(2 * count, 'picture')} to {folder}")
    else:
        output.say(f"wrote {first.files.painted}")
        output.say(f"wrote {first.files.labels}")


def _print_video(output: Output, video: PredictedVideo) -> None:
    output.say("{}: {} of {}x{}".format(video.name, counted(video.frames, "frame"), *video.size))
    output.legend(video.legend)
    if video.without_sound:
        output.say("its sound is left out: an MP4 file does not hold such")
    output.say(f"wrote {video.file}")


def results_document(
    backend: Provider, images: ImageResults | None, videos: Sequence[PredictedVideo]
) -> dict[str, Any]:
    """The results as JSON types."""
    report = None if images is None else images.report.to_dict()
    return {
        "backend": backend.entry.target,
        "images": [
            {
                "name": item.name,
                "height": item.size[0],
                "width": item.size[1],
                "painted": str(item.files.painted),
                "labels": str(item.files.labels),
                "classes": _classes(item.legend),
            }
            for item in (images.predicted if images else ())
        ],
        "classes": _classes(images.predicted.legend if images else ()),
        "videos": [
            {
                "name": video.name,
                "height": video.size[0],
                "width": video.size[1],
                "frames": video.frames,
                "painted": str(video.file),
                "classes": _classes(video.legend),
            }
            for video in videos
        ],
        "run": report,
    }


def _classes(legend: Sequence[LegendEntry]) -> list[dict[str, Any]]:
    return [
        {
            "label": entry.label,
            "name": entry.name,
            "colour": list(entry.colour),
            "pixels": entry.pixels,
            "share": entry.share,
        }
        for entry in legend
    ]

"""The flags for colours and legends, and those for the pictures of ``segplug infer``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segplug.cli.given_command import given_command
from segplug.cli.grouped_help import Flag
from segplug.cli.parameters import FiniteRange, GreedyOption, WholeRange, bands_option
from segplug.errors import UsageError
from segplug.limits import MOST_REPORT_IMAGES
from segplug.palette import PALETTE_NAMES

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.installed import Provider
    from segplug.runtime.drawing import Part, PictureSettings
    from segplug.sink import Sink

__all__ = [
    "check_masks",
    "check_pictures",
    "legend_option",
    "opacity_option",
    "palette_option",
    "picture_options",
    "picture_settings",
    "picture_sinks",
    "report_options",
    "report_sinks",
]

_PARTS = ("image", "truth", "prediction", "difference")
"""Those of :data:`segplug.runtime.drawing.PARTS`, whose module needs NumPy: help texts must not wait."""
_REPORT_IMAGES = 16
_SHOWN = "add --show-dir FOLDER or --show"


def palette_option() -> click.Option:
    """``--palette``: a name or a file for :func:`segplug.palette.named_palette`."""
    names = ", ".join(PALETTE_NAMES[1:])
    return Flag(
        ["--palette"],
        group="output",
        metavar="NAME|FILE",
        help="The colours of the classes: distinct (well told apart, by colour-blind readers too), those of "
        f"a data set ({names}), or a file with one colour for each class (R G B or #rrggbb a line, CSV, "
        "JSON, .gpl). Default: the data set's or the model's own, else distinct.",
    )


def legend_option(default: str) -> click.Option:
    """``--legend``; its value is ``right``, ``below`` or ``none``."""
    return Flag(
        ["--legend"],
        group="output",
        type=click.Choice(["right", "below", "none"]),
        default=default,
        show_default=True,
        help="Where painted images show which colour is which class, and the share of each class.",
    )


def opacity_option() -> click.Option:
    """``--opacity``."""
    return Flag(
        ["--opacity"],
        group="output",
        type=FiniteRange(0, 1, min_open=True),
        default=0.5,
        show_default=True,
        help="Weight of the class colour over the image, above 0 and at most 1.",
    )


def picture_options() -> list[click.Option]:
    """The flags for pictures of results."""
    folder = click.Path(path_type=Path, file_okay=False)
    return [
        Flag(
            ["--show-dir"],
            group="output",
            type=folder,
            help="Write painted images to this folder: the class colours over the image.",
        ),
        Flag(["--show"], group="output", is_flag=True, help="Show each painted image in a window."),
        GreedyOption(
            ["--show-parts"],
            group="output",
            type=click.Choice(_PARTS),
            metavar="PART",
            help="What painted images show, from left to right: image truth prediction difference. Default: "
            "prediction.",
        ),
        legend_option("none"),
        opacity_option(),
        palette_option(),
        bands_option("painted images show"),
        Flag(
            ["--color"],
            group="output",
            type=folder,
            help="Write a coloured label map for each image to this folder: a PNG with a palette, whose "
            "values are the labels.",
        ),
    ]


def report_options() -> list[click.Option]:
    """The flags for the page of a run."""
    return [
        Flag(
            ["--report"],
            group="output",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE.html",
            help="Write one page about the run: scores, confusion matrix, worst and best images, settings.",
        ),
        Flag(
            ["--report-images"],
            group="output",
            type=WholeRange(0, MOST_REPORT_IMAGES),
            metavar="N",
            help="How many images the page of --report shows: three quarters the worst, the rest the best. "
            f"Default: {_REPORT_IMAGES}.",
        ),
    ]


def check_pictures(values: Mapping[str, Any]) -> None:
    """Refuse flags that say how to show what is not shown."""
    shown = values["show_dir"] or values["show"]
    if values["show_parts"] and not shown:
        raise UsageError("--show-parts says what painted images show", hint=_SHOWN)
    if values["legend"] != "none" and not shown:
        raise UsageError("--legend says where the legend of painted images is", hint=_SHOWN)
    if values["bands"] and not (shown or values["report"]):
        raise UsageError("--bands says what painted images show", hint=_SHOWN)
    if values["report_images"] is not None and not values["report"]:
        raise UsageError("--report-images says what a page shows", hint="add --report FILE.html")
    if values["palette"] is not None and not (shown or values["color"] or values["report"]):
        raise UsageError(
            "--palette gives the colours of pictures", hint=f"{_SHOWN}, or --color FOLDER, or --report FILE"
        )


def check_masks(values: Mapping[str, Any], dataset: Dataset) -> None:
    """Refuse parts of pictures that a data set lacks, before a model is loaded."""
    from segplug.runtime.drawing import require_masks

    require_masks(values["show_parts"], dataset.info)


def picture_settings(
    values: Mapping[str, Any], *, parts: tuple[Part, ...] = ("prediction",)
) -> PictureSettings:
    """What pictures show, from the flags ``--opacity``, ``--bands``, ``--palette`` and ``--legend``."""
    from segplug.runtime.drawing import PictureSettings

    return PictureSettings(
        opacity=values["opacity"],
        bands=values["bands"] or None,
        palette=values["palette"],
        parts=parts,
        legend=None if values["legend"] == "none" else values["legend"],
    )


def picture_sinks(values: Mapping[str, Any]) -> list[Sink]:
    """The sinks of the flags for pictures."""
    from segplug.runtime.display import DisplaySink
    from segplug.runtime.sinks import ColourMapSink, PaintSink

    settings = picture_settings(values, parts=values["show_parts"] or ("prediction",))
    chosen: list[Sink] = []
    if values["color"]:
        chosen.append(ColourMapSink(values["color"], palette=values["palette"]))
    if values["show_dir"]:
        chosen.append(PaintSink(values["show_dir"], settings))
    if values["show"]:
        chosen.append(DisplaySink(settings))
    return chosen


def report_sinks(values: Mapping[str, Any], provider: Provider) -> list[Sink]:
    """The sink of ``--report``, if it is given."""
    if not values["report"]:
        return []
    from segplug.reports.run_report import ReportSink

    entry, unknown = provider.entry, values["unknown_below"]
    settings = {
        "file": values["subject"],
        "weights": values.get("checkpoint") or "",
        "backend": f"{entry.target} ({entry.distribution} {entry.version})",
        "device": values["device"],
        "batch size": str(values["batch_size"]),
        "labels become unknown below": "" if unknown is None else f"{unknown:g}",
    }
    return [
        ReportSink(
            values["report"],
            metrics=values["eval"] or ("mIoU",),
            nan_to_num=values["nan_to_num"],
            beta=values["beta"],
            images=_REPORT_IMAGES if values["report_images"] is None else values["report_images"],
            pictures=picture_settings(values),
            settings=settings,
            command=given_command(),
            force=values["force"],
        )
    ]

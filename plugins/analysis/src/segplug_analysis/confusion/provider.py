"""``analyze confusion``: which classes a results run takes for which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug import hookimpl, option
from segplug.errors import UsageError
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport, Figure
from segplug_analysis.pictures import check_picture, write_picture

if TYPE_CHECKING:
    from segplug.dataset import Dataset

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options:
    """What the results are of, and how the matrix is shown."""

    dataset: str | None = option(
        None, help="What the results are of: data.test of a config, or a folder.", metavar="CONFIG|FOLDER"
    )
    dataset_source: str | None = option(None, help="The source that reads the data set.", metavar="NAME")
    cfg_options: Mapping[str, Any] | None = option(None, help="Override settings of the config.")
    dataset_options: Mapping[str, Any] | None = option(
        None, help="Options of the data set's source, e.g. a folder's classes."
    )
    normalize: Literal["true", "prediction", "all", "none"] = option(
        "true", help="Show shares of the true class, of the predicted one, of all pixels, or pixels."
    )
    top: int = option(20, help="How many confused pairs are listed.", minimum=1)
    title: str | None = option(None, help="The picture's title.")
    out: Path | None = option(
        None, help="Write the picture to this file: .png, .svg or .pdf.", metavar="FILE"
    )
    trust_results: bool = option(False, help="Load a .pkl that holds more than arrays. It can run code.")


class ConfusionReport:
    """Show which classes a results run takes for which: confusion matrix, scores, most confused pairs.

    The subject is what `segplug run infer` wrote, the .npz of --out or the folder of --format-only, or the
    .pkl of mmseg's own test tool.
    """

    api_version = 1
    options = Options

    @hookimpl
    def analyze(self, request: AnalyzeRequest) -> AnalyzeReport:
        from segplug_analysis.confusion.drawing import ConfusionPicture
        from segplug_analysis.confusion.matrix import count_confusion
        from segplug_analysis.confusion.report import data_of, notes_of, tables_of
        from segplug_analysis.confusion.results import open_results

        options: Options = request.options
        if len(request.subjects) != 1:
            raise UsageError(f"analyze confusion takes one results run, not {len(request.subjects)}")
        (location,) = request.subjects
        kind = check_picture(options.out, [location], force=request.force) if options.out else None
        dataset = _dataset(request)
        classes = dataset.info.classes
        results = open_results(location, dataset, len(classes), trust=options.trust_results)
        confusion = count_confusion(results, dataset, classes, request.reporter)
        title = options.title or f"Confusion of {Path(location).name} on {dataset.info.name}"
        picture = ConfusionPicture(confusion, options.normalize, title)
        if options.out and kind:
            write_picture(options.out, picture.encoded(kind), force=request.force)
            request.reporter.note(f"wrote {options.out}")
        return AnalyzeReport(
            title=title,
            data=data_of(confusion, options.normalize, options.top),
            tables=tables_of(confusion, options.normalize, options.top),
            figures=(
                Figure(
                    title=title,
                    draw=lambda: picture.encoded("svg"),
                    media_type="image/svg+xml",
                    description=f"Confusion matrix: rows true, columns predicted, in {picture.unit}",
                ),
            ),
            notes=(*notes_of(confusion, dataset.info.ignore_index), *picture.notes()),
        )


def _dataset(request: AnalyzeRequest) -> Dataset:
    """The data set, once it is known to have what a comparison needs."""
    options: Options = request.options
    if options.dataset is None:
        raise UsageError("say what the results are of", hint="add --dataset CONFIG|FOLDER")
    if Path(options.dataset).is_dir() and options.cfg_options:
        raise UsageError("--cfg-options changes a config, and there is none here")
    dataset = request.session.load_dataset(
        options.dataset,
        source=options.dataset_source,
        cfg_options=options.cfg_options,
        **(options.dataset_options or {}),
    )
    if not dataset.info.has_masks:
        raise UsageError(
            f"the data set {dataset.info.name} has no masks, so there is nothing to compare with"
        )
    if not dataset.info.classes:
        raise UsageError(
            f"the data set {dataset.info.name} does not say what its classes are",
            hint="add --dataset-options classes=FILE.txt, with a name per line",
        )
    return dataset


provider = ConfusionReport()

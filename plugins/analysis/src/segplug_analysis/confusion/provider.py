"""``analyze confusion``: the confusion matrix of saved predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import UsageError
from segplug.hookspecs import hookimpl
from segplug.options import as_keywords, option
from segplug.providers import Report
from segplug.requests import AnalyzeRequest
from segplug.results import AnalyzeReport, Figure
from segplug_analysis.pictures import picture_kind

if TYPE_CHECKING:
    from segplug.dataset import Dataset

__all__ = ["Options", "provider"]


@dataclass(frozen=True)
class Options:
    """Options of ``analyze confusion``."""

    dataset: str | None = option(
        None,
        help="The data set of the predictions: a folder, or the test data of a config.",
        metavar="CONFIG|FOLDER",
    )
    dataset_source: str | None = option(None, help="The source that reads the data set.", metavar="NAME")
    cfg_options: Mapping[str, Any] | None = option(None, help="Override settings of the config.")
    dataset_options: Mapping[str, Any] | None = option(
        None, help="Options of the data set's source, such as a folder's classes."
    )
    normalize: Literal["true", "prediction", "all", "none"] = option(
        "true",
        help="Divide pixels by those of the true class, the predicted class, or all; none: show pixels.",
    )
    top: int = option(20, help="List this many of the most confused pairs.", minimum=1)
    title: str | None = option(None, help="The picture's title.")
    out: Path | None = option(
        None, help="Write the picture to this file: .png, .svg or .pdf.", metavar="FILE", output=True
    )
    trust_results: bool = option(False, help="Load a .pkl that holds more than arrays. It can run code.")


class ConfusionReport(Report[Options]):
    """Shows which classes a model confuses: confusion matrix, scores, most confused pairs.

    The SUBJECT has the predictions: the .npz of `segplug infer --out`, the folder of --format-only, or
    what mmseg's own test tool writes: a folder of label maps (1.x) or a .pkl (0.x). Predictions
    of the ignored label are none: such pixels count as missed.
    """

    hook_version = 2
    example = "run.npz --dataset CONFIG.py"
    options = Options

    @hookimpl
    def analyze(self, request: AnalyzeRequest[Options]) -> AnalyzeReport:
        from segplug_analysis.confusion.drawing import ConfusionPicture
        from segplug_analysis.confusion.matrix import count_confusion
        from segplug_analysis.confusion.report import data_of, notes_of, tables_of
        from segplug_analysis.confusion.results import check_results, open_results

        options = request.options
        if len(request.subjects) != 1:
            raise UsageError(f"analyze confusion takes one file or folder, not {len(request.subjects)}")
        (location,) = request.subjects
        kind = picture_kind(options.out) if options.out else None
        if options.dataset is None:
            raise UsageError("no data set is named", hint="add --dataset CONFIG|FOLDER")
        check_results(location)  # before mmseg is imported
        dataset = _dataset(request, options.dataset)
        classes = dataset.info.classes
        if len(classes) == 1:  # label 1 is the class, as a model of one class gives it
            classes = ("background", *classes)
        results = open_results(location, dataset, len(classes), trust=options.trust_results)
        confusion = count_confusion(results, dataset, classes, request.reporter)
        title = options.title or f"Confusion of {Path(location).name} on {dataset.info.name}"
        picture = ConfusionPicture(confusion, options.normalize, title)
        if options.out and kind:
            options.out.write_bytes(picture.encoded(kind))
        return AnalyzeReport(
            title=title,
            data=data_of(confusion, options.normalize, options.top),
            tables=tables_of(confusion, options.normalize, options.top),
            figures=(
                Figure(
                    title=title,
                    draw=picture.for_page,
                    media_type="image/svg+xml",
                    description=f"Confusion matrix: rows true, columns predicted, in {picture.unit}",
                ),
            ),
            notes=(*notes_of(confusion, dataset.info.ignore_index), *picture.notes()),
        )


def _dataset(request: AnalyzeRequest[Options], location: str) -> Dataset:
    """Load the data set, and check that it has masks and class names."""
    options = request.options
    if Path(location).is_dir() and options.cfg_options:
        raise UsageError("--cfg-options changes a config, but --dataset is a folder")
    dataset = request.session.load_dataset(
        location,
        source=options.dataset_source,
        cfg_options=options.cfg_options,
        **as_keywords(options.dataset_options, request.session.load_dataset, flag="--dataset-options"),
    )
    if not dataset.info.has_masks:
        raise UsageError(f"the data set {dataset.info.name} has no masks to compare with")
    if not dataset.info.classes:
        raise UsageError(
            f"the data set {dataset.info.name} has no names of classes",
            hint="add --dataset-options classes=FILE.txt, with one name per line",
        )
    return dataset


provider = ConfusionReport()

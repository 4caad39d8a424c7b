"""The parity report, from the reference's run and the outcomes of the trials."""

from __future__ import annotations

from collections.abc import Sequence

from segplug.regular_files import MOST_TEXT, read_regular
from segplug.results import AnalyzeReport, Figure, Table
from segplug_analysis.parity.data import as_data
from segplug_analysis.parity.form import Form
from segplug_analysis.parity.job import Job
from segplug_analysis.parity.notes import notes_of
from segplug_analysis.parity.numbers import METRICS, points_of, score_of
from segplug_analysis.parity.outcomes import CachedFile, Outcome, Picture, Reference
from segplug_analysis.parity.plan import Plan

__all__ = ["make_report"]


def make_report(
    job: Job,
    form: Form,
    reference: Reference,
    outcomes: Sequence[Outcome],
    plan: Plan,
    warnings: Sequence[str],
) -> AnalyzeReport:
    """Tables, pictures, data and notes; ``warnings`` are those of the runs."""
    tables = [
        _results(job, reference, outcomes),
        _differences(reference, outcomes),
        _speed(reference, outcomes),
        _per_class(reference, outcomes),
        _pictures(outcomes),
        _files(outcomes),
        _failures(outcomes),
    ]
    return AnalyzeReport(
        title=f"Parity of {job.model.meta.name} on {job.dataset.info.name}",
        data=as_data(job, form, reference, outcomes, plan),
        tables=tuple(table for table in tables if table.rows),
        figures=tuple(_figure(outcome, picture) for outcome in outcomes for picture in outcome.pictures),
        notes=tuple(notes_of(job, form, reference, outcomes, plan, warnings)),
    )


def _results(job: Job, reference: Reference, outcomes: Sequence[Outcome]) -> Table:
    return Table(
        "Results",
        ("model", "data set", "metric", "pytorch fp32", *(outcome.trial.name for outcome in outcomes)),
        tuple(
            (
                job.model.meta.name,
                job.dataset.info.name,
                metric,
                score_of(reference.numbers, metric),
                *(score_of(outcome.numbers, metric) for outcome in outcomes),
            )
            for metric in METRICS
        ),
    )


def _differences(reference: Reference, outcomes: Sequence[Outcome]) -> Table:
    return Table(
        "Difference from PyTorch",
        ("backend", *(f"{metric} points" for metric in METRICS), "labels differ %", "pixels", "images"),
        tuple(
            (
                outcome.trial.name,
                *(points_of(outcome.numbers, reference.numbers, metric) for metric in METRICS),
                *(
                    (100 * agreement.differing_share, agreement.differing, agreement.images_differing)
                    if (agreement := outcome.agreement)
                    else (None,) * 3
                ),
            )
            for outcome in outcomes
        ),
    )


def _speed(reference: Reference, outcomes: Sequence[Outcome]) -> Table:
    runs = [("pytorch fp32", reference.device, reference.numbers)]
    runs += [
        (outcome.trial.name, outcome.trial.device, outcome.numbers)
        for outcome in outcomes
        if outcome.numbers is not None
    ]
    return Table(
        "Speed of the scoring run",
        ("backend", "device", "engine ms/image", "images/s"),
        tuple((name, device, run.engine_ms_per_image, run.images_per_second) for name, device, run in runs),
    )


def _how(file: CachedFile) -> str:
    if file.reused:
        return "reused"
    return "exported" if file.hook == "export" else "built"


def _per_class(reference: Reference, outcomes: Sequence[Outcome]) -> Table:
    compared = [outcome for outcome in outcomes if outcome.numbers is not None]
    return Table(
        "IoU of each class",
        ("class", "pytorch fp32", *(outcome.trial.name for outcome in compared)),
        tuple(
            (
                name,
                *(
                    score_of(run, f"IoU.{name}")
                    for run in (reference.numbers, *(outcome.numbers for outcome in compared))
                ),
            )
            for name in reference.numbers.classes
        ),
    )


def _pictures(outcomes: Sequence[Outcome]) -> Table:
    return Table(
        "Images that differ most",
        ("backend", "image", "pixels differing", "differing %", "picture"),
        tuple(
            (
                outcome.trial.name,
                picture.image.name,
                picture.image.differing,
                100 * picture.image.share,
                str(picture.path),
            )
            for outcome in outcomes
            for picture in outcome.pictures
        ),
    )


def _files(outcomes: Sequence[Outcome]) -> Table:
    rows = {
        file.path: (
            file.format,
            file.precision,
            _how(file),
            file.seconds,
            file.bytes / 1e6,
            str(file.path),
        )
        for outcome in outcomes
        for file in reversed(outcome.files)
    }
    columns = ("format", "precision", "status", "s to make", "MB", "file")
    return Table("Files", columns, tuple(rows.values()))


def _failures(outcomes: Sequence[Outcome]) -> Table:
    return Table(
        "Not compared",
        ("backend", "reason"),
        tuple((outcome.trial.name, str(outcome.error)) for outcome in outcomes if outcome.error is not None),
    )


def _figure(outcome: Outcome, picture: Picture) -> Figure:
    image = picture.image
    return Figure(
        title=f"{outcome.trial.name}: {image.name}, {image.differing:,} of {image.pixels:,} pixels differ",
        draw=lambda: read_regular(picture.path, most_bytes=MOST_TEXT),
        media_type="image/jpeg",
        description=(
            f"four views of {image.name}: the image, painted with PyTorch's labels, painted with those of "
            f"{outcome.trial.name}, and in grey with marks where the two differ"
        ),
    )

"""A parity report, from the reference's run and what became of the trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segplug.requests import AnalyzeReport, Figure, Table
from segplug_analysis.parity.data import as_data
from segplug_analysis.parity.form import Form
from segplug_analysis.parity.numbers import METRICS, classes_of, points_of, score_of, speed_of
from segplug_analysis.parity.plan import Plan
from segplug_analysis.parity.run import Job, Outcome, Picture, Reference
from segplug_analysis.parity.work import Made

__all__ = ["make_report"]


def make_report(
    job: Job, form: Form, reference: Reference, outcomes: Sequence[Outcome], plan: Plan
) -> AnalyzeReport:
    """Tables, pictures and data."""
    tables = [
        _results(job, reference, outcomes),
        _against(reference, outcomes),
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
        notes=tuple(_notes(job, form, reference, outcomes, plan)),
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
                score_of(reference.report, metric),
                *(score_of(outcome.report, metric) for outcome in outcomes),
            )
            for metric in METRICS
        ),
    )


def _against(reference: Reference, outcomes: Sequence[Outcome]) -> Table:
    return Table(
        "Against PyTorch",
        (
            *("backend", "file", "mIoU points", "mAcc points", "aAcc points", "labels equal %"),
            *("pixels differing", "images differing", "engine ms/image", "images/s"),
        ),
        (
            ("pytorch fp32", "-", *(None,) * 6, *speed_of(reference.report)),
            *(
                (
                    outcome.trial.name,
                    _origin_of(outcome),
                    *(points_of(outcome.report, reference.report, metric) for metric in METRICS),
                    *(
                        (100 * agreement.share, agreement.differing, agreement.images_differing)
                        if (agreement := outcome.agreement)
                        else (None,) * 3
                    ),
                    *speed_of(outcome.report),
                )
                for outcome in outcomes
            ),
        ),
    )


def _origin_of(outcome: Outcome) -> str:
    if outcome.error is not None:
        return "not compared"
    if not outcome.made:
        return "the model itself"
    return _how(outcome.made[-1])


def _how(made: Made) -> str:
    if made.reused:
        return "reused"
    return "exported" if made.hook == "export" else "built"


def _per_class(reference: Reference, outcomes: Sequence[Outcome]) -> Table:
    compared = [outcome for outcome in outcomes if outcome.report is not None]
    return Table(
        "IoU of each class",
        ("class", "pytorch fp32", *(outcome.trial.name for outcome in compared)),
        tuple(
            (
                name,
                *(
                    score_of(report, f"IoU.{name}")
                    for report in (reference.report, *(outcome.report for outcome in compared))
                ),
            )
            for name in classes_of(reference.report)
        ),
    )


def _pictures(outcomes: Sequence[Outcome]) -> Table:
    return Table(
        "Images that differ most",
        ("backend", "image", "pixels differing", "of them %", "picture"),
        tuple(
            (
                outcome.trial.name,
                picture.worst.name,
                picture.worst.differing,
                100 * picture.worst.share,
                str(picture.path),
            )
            for outcome in outcomes
            for picture in outcome.pictures
        ),
    )


def _files(outcomes: Sequence[Outcome]) -> Table:
    rows = {
        made.path: (
            made.format,
            made.precision,
            _how(made),
            made.seconds,
            made.bytes / 1e6,
            str(made.path),
        )
        for outcome in outcomes
        for made in reversed(outcome.made)
    }
    columns = ("format", "precision", "this time", "s to make", "MB", "file")
    return Table("Files", columns, tuple(rows.values()))


def _failures(outcomes: Sequence[Outcome]) -> Table:
    return Table(
        "Not compared",
        ("backend", "why"),
        tuple((outcome.trial.name, str(outcome.error)) for outcome in outcomes if outcome.error is not None),
    )


def _figure(outcome: Outcome, picture: Picture) -> Figure:
    worst = picture.worst
    return Figure(
        title=f"{outcome.trial.name}: {worst.name}, {worst.differing:,} of {worst.pixels:,} pixels differ",
        draw=picture.path.read_bytes,
        description=(
            f"four views of {worst.name}: the image, painted with PyTorch's labels, painted with those of "
            f"{outcome.trial.name}, and in grey with marks where the two differ"
        ),
    )


def _notes(
    job: Job, form: Form, reference: Reference, outcomes: Sequence[Outcome], plan: Plan
) -> Iterator[str]:
    sizes = "for any size" if form.size is None else f"for {form.size_text} (height x width)"
    yield f"files are made {sizes}, to give {form.output_kind}: {form.reason}"
    yield (
        "scores are fractions, as `segplug run infer --eval mIoU` gives them; differences are points, "
        "hundredths of them, backend less PyTorch"
    )
    yield (
        "labels are compared at each image's own size, on all pixels, also where the mask holds the ignored "
        f"value {job.dataset.info.ignore_index}: --json has the share of the scored pixels as well"
    )
    threads = job.threads or "the library's default"
    yield (
        f"engine ms/image (on {job.device}, threads: {threads}) is what the scoring run spent inside the "
        "engine, its first image included, while other threads read and score; "
        "`segplug run analyze benchmark` measures engines by themselves"
    )
    for report in (reference.report, *(outcome.report for outcome in outcomes)):
        if report is not None and report.resumed:
            yield "a run went on with an interrupted one: its times are of the images that were left"
            break
    for outcome in outcomes:
        if outcome.agreement is not None and not outcome.agreement.differing:
            yield f"{outcome.trial.name} gives the same label as PyTorch for every pixel: nothing is painted"
    for backend, reason in plan.left_out:
        yield f"{backend} is left out: {reason}"
    yield f"the label maps of PyTorch are in {reference.labels}"

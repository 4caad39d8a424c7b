"""The notes that explain a parity report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segplug_analysis.model_notes import approximation_notes, views_note
from segplug_analysis.parity.form import Form
from segplug_analysis.parity.job import Job
from segplug_analysis.parity.outcomes import Outcome, Reference
from segplug_analysis.parity.plan import Plan

__all__ = ["notes_of"]


def notes_of(
    job: Job,
    form: Form,
    reference: Reference,
    outcomes: Sequence[Outcome],
    plan: Plan,
    warnings: Sequence[str],
) -> Iterator[str]:
    """One sentence each, the warnings of the runs last."""
    yield from approximation_notes(job.model.meta.approximations)
    yield from _how_to_read(job, form)
    yield from _resumed(reference, outcomes)
    if any(outcome.agreement and not outcome.agreement.scored_pixels for outcome in outcomes):
        yield (
            "there are no scores, because no pixel is scored: the masks have only the ignored value "
            f"{job.dataset.info.ignore_index}"
        )
    for outcome in outcomes:
        if outcome.agreement is not None and not outcome.agreement.differing:
            yield f"{outcome.trial.name} gives the same label as PyTorch for every pixel: nothing is painted"
    for backend, reason in plan.left_out:
        yield f"{backend} is left out: {reason}"
    yield f"the label maps of PyTorch are in {reference.labels}"
    yield from _warnings(reference, outcomes, warnings)


def _how_to_read(job: Job, form: Form) -> Iterator[str]:
    sizes = "for any size" if form.size is None else f"for {form.size_text} (height x width)"
    yield f"files are exported {sizes} and give {form.output_kind}: {form.reason}"
    views = len(job.model.meta.default_tta)
    yield (
        f"scores are fractions, as `segplug infer --eval mIoU{' --no-tta' if views else ''}` gives them; "
        "differences are percentage points, the backend's score minus PyTorch's"
    )
    yield from views_note(views, "PyTorch and the backends run one view of each image")
    if job.model.meta.multilabel:
        yield (
            "a pixel may have several classes, and each class is scored alone: there is no aAcc, and a label "
            "differs where any class does"
        )
    yield (
        "labels are compared at each image's own size, on all pixels, also where the mask has the ignored "
        f"value {job.dataset.info.ignore_index}; --json has the share of the scored pixels as well"
    )
    threads = job.threads or "the library's default"
    yield (
        f"engine ms/image (threads: {threads}) is the engine's time in the scoring run, "
        "with the first image, while other threads read and score; `segplug analyze benchmark` measures "
        "engines without other work"
    )


def _resumed(reference: Reference, outcomes: Sequence[Outcome]) -> Iterator[str]:
    runs = {"pytorch fp32": reference.numbers}
    runs |= {outcome.trial.name: outcome.numbers for outcome in outcomes if outcome.numbers is not None}
    if reused := [name for name, run in runs.items() if run.reused]:
        yield f"results and times of an earlier run are used for {', '.join(reused)}"
    if any(run.resumed for run in runs.values()):
        yield "an interrupted run was continued: its times are those of the remaining images"


def _warnings(reference: Reference, outcomes: Sequence[Outcome], warnings: Sequence[str]) -> Iterator[str]:
    """Every warning once: all runs may give the same. Those of reused runs are in their numbers."""
    numbers = [reference.numbers, *(outcome.numbers for outcome in outcomes)]
    saved = [warning for run in numbers if run is not None for warning in run.warnings]
    return (f"warning: {warning}" for warning in dict.fromkeys([*warnings, *saved]))

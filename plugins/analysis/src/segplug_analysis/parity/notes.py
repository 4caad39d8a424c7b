"""What a reader must know to read a parity report rightly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segplug_analysis.parity.form import Form
from segplug_analysis.parity.job import Job, Outcome, Reference
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
    """A sentence each, with what the runs warned of at the end."""
    yield from _how_to_read(job, form)
    yield from _what_ran(reference, outcomes)
    if any(outcome.agreement and not outcome.agreement.scored_pixels for outcome in outcomes):
        yield (
            "there are no scores, since no pixel is scored: all masks hold nothing but the ignored value "
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


def _what_ran(reference: Reference, outcomes: Sequence[Outcome]) -> Iterator[str]:
    runs = {"pytorch fp32": reference.numbers}
    runs |= {outcome.trial.name: outcome.numbers for outcome in outcomes if outcome.numbers is not None}
    if kept := [name for name, run in runs.items() if run.kept]:
        yield f"finished before and not run again, times included: {', '.join(kept)}"
    if any(run.resumed for run in runs.values()):
        yield "a run went on with an interrupted one: its times are of the images that were left"


def _warnings(reference: Reference, outcomes: Sequence[Outcome], warnings: Sequence[str]) -> Iterator[str]:
    """Each once: every run warns of the same masks. Those of runs that were kept are in their numbers."""
    numbers = [reference.numbers, *(outcome.numbers for outcome in outcomes)]
    kept = [warning for run in numbers if run is not None for warning in run.warnings]
    return (f"warning: {warning}" for warning in dict.fromkeys([*warnings, *kept]))

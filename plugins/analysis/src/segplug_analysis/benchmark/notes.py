"""The notes that explain a benchmark's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segplug.text import counted
from segplug_analysis.benchmark.measure import Plan
from segplug_analysis.benchmark.processes import wait_policy
from segplug_analysis.benchmark.statistics import Row
from segplug_analysis.machine import Machine
from segplug_analysis.model_notes import approximation_notes, views_note

__all__ = ["notes_on"]

_DRIFT = 0.10
"""A note names the candidates whose round medians differ by more than this."""

_BUSY = 0.5
"""Load per core above which the machine was too busy to measure."""


def notes_on(rows: Sequence[Row], plan: Plan, machine: Machine) -> Iterator[str]:
    """One sentence each; those that every report has come first."""
    yield _machine(machine)
    yield _scope(rows)
    yield _procedure(plan, several=len(rows) > 1)
    yield (
        "start-up is the time from the start of the process until the engine is open, and opening is its "
        "last part; both are measured once, and the first engine may wait for files that are not in memory "
        "yet; peak MB is the largest resident size of the process, with its libraries and weights"
    )
    yield from views_note(
        max(measured.engine["views"] for measured, _ in rows), "one run is one view of an image"
    )
    yield from _differences(rows)
    yield from _unsteady(rows)
    yield from approximation_notes(line for row, _ in rows for line in row.engine["approximations"])


def _machine(machine: Machine) -> str:
    place = f"measured on {machine.processor}, {machine.cores} cores, {machine.system}"
    if machine.load is None:
        return place
    busy = machine.load > _BUSY * machine.cores
    return f"{place}, load {machine.load:.2f} before the start" + (
        ": the machine was busy with other work, and may be faster than these numbers" if busy else ""
    )


def _scope(rows: Sequence[Row]) -> str:
    slides = any(measured.engine["slides"] for measured, _ in rows)
    return (
        "only the engine's run is timed, on random normalised images: reading, preprocessing and making "
        "label maps from logits are not included"
    ) + ("; the model uses a sliding window: one run is one window (or a batch), not one image" * slides)


def _procedure(plan: Plan, *, several: bool) -> str:
    rounds = f" in {counted(len(plan.blocks), 'round')}" if plan.runs > 1 else ""
    timed = (
        f"{plan.runs} timed run{'s' * (plan.runs > 1)} of each engine{rounds}, after a first run and "
        f"{plan.warmup} warm-up runs; one more run before each round is not counted"
    )
    turns = (
        "; each engine has a process of its own, and in each round they run one after the other, in an "
        f"order that changes (with OMP_WAIT_POLICY={wait_policy()}); 'x time of first' is the median of the "
        "rounds' ratios, so that changes of the machine's speed cancel out; 'lowest' and 'highest' are the "
        "extremes of these ratios"
    )
    return timed + turns * several


def _differences(rows: Sequence[Row]) -> Iterator[str]:
    """Differences in the work of the candidates, or in their threads."""
    if len({measured.shape for measured, _ in rows}) > 1:
        yield "the inputs have different shapes: the ratios do not compare the same work"
    if len({measured.engine["output"] for measured, _ in rows}) > 1:
        yield (
            "some engines give labels and some logits: choosing the class of each pixel is part of the "
            "timed run only where an engine gives labels"
        )
    # Two files on one backend have the same number of threads, even where it is unknown.
    on_cpu = [measured for measured, _ in rows if measured.candidate.device.lower().startswith("cpu")]
    if len({measured.threads or measured.candidate.backend for measured in on_cpu}) > 1:
        yield (
            "the engines do not use the same number of threads, or the number is unknown: "
            "compare them with --threads N"
        )


def _unsteady(rows: Sequence[Row]) -> Iterator[str]:
    apart = [
        f"{measured.candidate.name} ({100 * summary.drift:.0f}%)"
        for measured, summary in rows
        if summary.drift > _DRIFT
    ]
    if apart:
        yield (
            f"the machine's speed changed, the medians of the rounds differ: {', '.join(apart)}"
            + "; the ratios are more reliable than the times" * (len(rows) > 1)
        )

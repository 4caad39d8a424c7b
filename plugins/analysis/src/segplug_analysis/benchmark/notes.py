"""What must be known to read a benchmark's numbers rightly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from segplug_analysis.benchmark.machine import Machine
from segplug_analysis.benchmark.measure import Plan
from segplug_analysis.benchmark.processes import wait_policy
from segplug_analysis.benchmark.statistics import Row

__all__ = ["notes_on"]

_DRIFT = 0.10
"""From here on it is said that the medians of a candidate's rounds lie apart."""

_BUSY = 0.5
"""Load for each core from which on the machine was not free for measuring."""


def notes_on(rows: Sequence[Row], plan: Plan, machine: Machine) -> Iterator[str]:
    """One sentence each, what always holds first."""
    yield _where(machine)
    yield _what(rows)
    yield _how(plan, several=len(rows) > 1)
    yield (
        "start-up is the time from the start of the process until the engine is open, opening is its last "
        "part, and both are measured once: files that were not read before come from the disk, and the first "
        "engine waits for them; peak MB is the largest resident size of the process, libraries and weights "
        "included"
    )
    yield from _differences(rows)
    yield from _unsteady(rows)


def _where(machine: Machine) -> str:
    place = f"measured on {machine.processor}, {machine.cores} cores, {machine.system}"
    if machine.load is None:
        return place
    busy = machine.load > _BUSY * machine.cores
    return f"{place}, load {machine.load:.2f} before the start" + (
        ": the machine was busy with other work, take no number here for its best" if busy else ""
    )


def _what(rows: Sequence[Row]) -> str:
    slides = any(measured.engine["slides"] for measured, _ in rows)
    return (
        "timed is the engine's run alone, on random normalised pictures: reading, preprocessing and "
        "what makes label maps of logits are not in it"
    ) + ("; the model slides a window, and one run is one window (a batch of them), not an image" * slides)


def _how(plan: Plan, *, several: bool) -> str:
    rounds = f" in {len(plan.blocks)} rounds" if plan.runs > 1 else ""
    counted = (
        f"{plan.runs} timed run{'s' * (plan.runs > 1)} of each engine{rounds}, after a first one and "
        f"{plan.warmup} to warm up; one more before each round is not counted"
    )
    turns = (
        "; in a round the engines, each in a process of its own, take turns in changing order "
        f"(with OMP_WAIT_POLICY={wait_policy()}); 'x time of first' is the median of the rounds' own ratios, "
        "in which a machine that gets slower or faster cancels, lowest and highest are their extremes"
    )
    return counted + turns * several


def _differences(rows: Sequence[Row]) -> Iterator[str]:
    """Where the candidates do not do the same work, or not with the same means."""
    if len({measured.shape for measured, _ in rows}) > 1:
        yield "the inputs have different shapes: the ratios do not compare the same work"
    if len({measured.engine["output"] for measured, _ in rows}) > 1:
        yield (
            "some engines give labels and some logits: the former choose the class of each pixel inside "
            "their run, for the latter that work comes on top"
        )
    # Two files on one backend have the same threads, even where it does not say how many.
    on_cpu = [measured for measured, _ in rows if not measured.candidate.device.startswith("cuda")]
    if len({measured.threads or measured.candidate.backend for measured in on_cpu}) > 1:
        yield (
            "the engines do not use the same number of threads, or do not say how many: "
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
            f"the machine was not steady, the medians of the rounds differ: {', '.join(apart)}"
            + "; the ratios say more than the times" * (len(rows) > 1)
        )

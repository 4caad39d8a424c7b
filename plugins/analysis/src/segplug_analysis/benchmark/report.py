"""A benchmark's report, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segplug.requests import AnalyzeReport, Table
from segplug_analysis.benchmark.chart import Bar, bars
from segplug_analysis.benchmark.machine import Machine
from segplug_analysis.benchmark.measure import PAUSE_SECONDS, Measured, Plan
from segplug_analysis.benchmark.processes import wait_policy
from segplug_analysis.benchmark.statistics import Summary, summarise

__all__ = ["make_report"]

_DRIFT = 0.10
"""From here on it is said that the medians of a candidate's rounds lie apart."""

_BUSY = 0.5
"""Load for each core from which on the machine was not free for measuring."""

Row = tuple[Measured, Summary]


def make_report(found: Sequence[Measured], plan: Plan, machine: Machine) -> AnalyzeReport:
    """Tables, a figure, and all raw times."""
    rows = [(measured, summarise(measured, found[0])) for measured in found]
    shown = [Bar(one.candidate.name, 1e3 * summary.median, 1e3 * summary.p95) for one, summary in rows]
    title = f"Benchmark of {len(rows)} engines" if len(rows) > 1 else f"Benchmark of {shown[0].name}"
    return AnalyzeReport(
        title=title,
        data={
            "machine": asdict(machine),
            "settings": {
                "runs": plan.runs,
                "warmup": plan.warmup,
                "rounds": len(plan.blocks),
                "pause_seconds": PAUSE_SECONDS,
                "omp_wait_policy": wait_policy(),
            },
            "candidates": [_data(*row, machine) for row in rows],
        },
        tables=(_latency(rows), _start_up(rows, machine)),
        figures=(bars(shown),),
        notes=tuple(_notes(rows, plan, machine)),
    )


def _latency(rows: Sequence[Row]) -> Table:
    columns = ("engine", "median ms", "p95 ms", "mean ms", "stdev ms", "rounds differ by %", "images/s")
    compared = len(rows) > 1
    return Table(
        "Latency of one run",
        (*columns, *(("ratio to first", "in the rounds") if compared else ())),
        tuple(
            (
                measured.candidate.name,
                *(1e3 * value for value in (each.median, each.p95, each.mean, each.deviation)),
                100 * each.drift,
                each.images_per_second,
                *((each.ratio, _range(each)) if compared else ()),
            )
            for measured, each in rows
        ),
    )


def _range(summary: Summary) -> str | None:
    low, high = min(summary.ratios), max(summary.ratios)
    return f"{low:.3f} to {high:.3f}" if low < high else None


def _start_up(rows: Sequence[Row], machine: Machine) -> Table:
    on_cuda = any(measured.memory["cuda_peak_bytes"] is not None for measured, _ in rows)
    return Table(
        "Engines",
        (
            *("engine", "runs on", "threads", "input", "gives", "start-up s", "of it opening s"),
            *("first run ms", "peak MB", *(["peak CUDA MB"] if on_cuda else [])),
        ),
        tuple(
            (
                measured.candidate.name,
                measured.engine["engine"],
                _threads(measured, machine),
                "x".join(str(length) for length in measured.shape),
                measured.engine["output"],
                measured.start_seconds,
                measured.engine["open_seconds"],
                1e3 * measured.first_run_seconds,
                _megabytes(measured.memory["peak_bytes"]),
                *([_megabytes(measured.memory["cuda_peak_bytes"])] if on_cuda else []),
            )
            for measured, _ in rows
        ),
    )


def _threads(measured: Measured, machine: Machine) -> str:
    if measured.candidate.threads is not None:
        return str(measured.candidate.threads)
    own = _own_threads(measured)
    return f"{own} (its default)" if own else f"its default ({machine.cores} cores)"


def _own_threads(measured: Measured) -> int | None:
    """What the library says that it uses, where it does."""
    threads: int | None = measured.engine["torch_threads"] if measured.candidate.is_model else None
    return threads


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _data(measured: Measured, summary: Summary, machine: Machine) -> dict[str, Any]:
    candidate = measured.candidate
    return {
        "name": candidate.name,
        "subject": candidate.subject,
        "subject_bytes": Path(candidate.subject).stat().st_size if not candidate.is_model else None,
        "checkpoint": candidate.checkpoint,
        "backend": candidate.backend,
        "engine": measured.engine["engine"],
        "device": candidate.device,
        "threads": candidate.threads or _own_threads(measured),
        "threads_asked": candidate.threads,
        "input_shape": list(measured.shape),
        "output": measured.engine["output"],
        "median_ms": 1e3 * summary.median,
        "p95_ms": 1e3 * summary.p95,
        "mean_ms": 1e3 * summary.mean,
        "stdev_ms": 1e3 * summary.deviation,
        "round_medians_ms": [1e3 * seconds for seconds in summary.round_medians],
        "rounds_differ_by": summary.drift,
        "images_per_second": summary.images_per_second,
        "ratio_to_first": summary.ratio,
        "ratio_to_first_by_round": list(summary.ratios),
        "start_seconds": measured.start_seconds,
        "open_seconds": measured.engine["open_seconds"],
        "first_run_ms": 1e3 * measured.first_run_seconds,
        "peak_memory_mb": _megabytes(measured.memory["peak_bytes"]),
        "peak_cuda_memory_mb": _megabytes(measured.memory["cuda_peak_bytes"]),
        "times_ms": [[1e3 * seconds for seconds in block] for block in measured.rounds],
    }


def _notes(rows: Sequence[Row], plan: Plan, machine: Machine) -> Iterator[str]:
    several = len(rows) > 1
    load = "" if machine.load is None else f", load {machine.load:.2f} before the start"
    yield f"measured on {machine.processor}, {machine.cores} cores, {machine.system}{load}"
    if machine.load is not None and machine.load > _BUSY * machine.cores:
        yield "the machine was busy with other work before the start: take no number here for its best"
    yield (
        "timed is the engine's run alone, on random normalised pictures: reading, preprocessing and "
        "what makes label maps of logits are not in it"
    )
    yield (
        f"{plan.runs} timed runs each in {len(plan.blocks)} rounds, after the first run and {plan.warmup} to "
        "warm up; one more before each block is not counted"
    )
    if several:
        yield (
            "each engine has a process of its own; in every round they take turns, in changing order, while "
            f"the others wait (OMP_WAIT_POLICY={wait_policy()}); the ratio is the median of the rounds' own "
            "ratios to the first engine, so that a machine that gets slower or faster does not change it"
        )
    yield (
        "start-up is the time from the start of the process until the engine is open, measured once: files "
        "that were not read before come from the disk, and the first engine waits for them; peak MB is the "
        "largest resident size of the process, libraries and weights included"
    )
    yield from _differences(rows)
    for measured, summary in rows:
        if summary.drift > _DRIFT:
            yield (
                f"{measured.candidate.name}: the medians of its rounds differ by {100 * summary.drift:.0f}%: "
                "the machine was not steady" + (", the ratio says more than the times" if several else "")
            )


def _differences(rows: Sequence[Row]) -> Iterator[str]:
    """Where the candidates do not do the same work."""
    if len({measured.shape for measured, _ in rows}) > 1:
        yield "the inputs have different shapes: the ratios do not compare the same work"
    outputs = {measured.engine["output"] for measured, _ in rows}
    if len(outputs) > 1:
        yield (
            "some engines give labels and some logits: the former choose the class of each pixel inside "
            "their run, for the latter that work comes on top"
        )
    if any(measured.engine["slides"] for measured, _ in rows):
        yield "the model slides a window over an image: one run is one window (a batch of them), not an image"

"""The report of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segplug.results import AnalyzeReport, Table
from segplug_analysis.benchmark.chart import Bar, bar_chart
from segplug_analysis.benchmark.measure import PAUSE_SECONDS, Measured, Plan
from segplug_analysis.benchmark.notes import notes_on
from segplug_analysis.benchmark.processes import wait_policy
from segplug_analysis.benchmark.statistics import Row, Summary, summarise
from segplug_analysis.machine import Machine

__all__ = ["make_report"]


def make_report(found: Sequence[Measured], plan: Plan, machine: Machine) -> AnalyzeReport:
    """Tables, a figure, notes, and as data every single time."""
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
            "candidates": [_data(*row) for row in rows],
        },
        tables=(_latency(rows), _spread(rows), _engines(rows, machine), _start_and_memory(rows)),
        figures=(bar_chart(shown),),
        notes=tuple(notes_on(rows, plan, machine)),
    )


def _latency(rows: Sequence[Row]) -> Table:
    columns = ("engine", "median ms", "p95 ms", "images/s")
    compared = len(rows) > 1
    return Table(
        "Latency of one run",
        (*columns, *(("x time of first", "lowest", "highest") if compared else ())),
        tuple(
            (
                measured.candidate.name,
                1e3 * each.median,
                1e3 * each.p95,
                each.images_per_second,
                *((each.ratio, min(each.ratios), max(each.ratios)) if compared else ()),
            )
            for measured, each in rows
        ),
    )


def _spread(rows: Sequence[Row]) -> Table:
    return Table(
        "Spread of the times",
        ("engine", "mean ms", "stdev ms", "rounds differ %"),
        tuple(
            (measured.candidate.name, 1e3 * each.mean, 1e3 * each.deviation, 100 * each.drift)
            for measured, each in rows
        ),
    )


def _engines(rows: Sequence[Row], machine: Machine) -> Table:
    return Table(
        "Engines",
        ("engine", "runs on", "device", "threads", "input", "output"),
        tuple(
            (
                measured.candidate.name,
                measured.engine["engine"],
                measured.candidate.device,
                _threads(measured, machine),
                "x".join(str(length) for length in measured.shape),
                measured.engine["output"],
            )
            for measured, _ in rows
        ),
    )


def _threads(measured: Measured, machine: Machine) -> str:
    if measured.threads is None:
        return f"default ({machine.cores} cores)"
    return str(measured.threads) + ("" if measured.candidate.threads else " (default)")


def _start_and_memory(rows: Sequence[Row]) -> Table:
    on_cuda = any(measured.memory["cuda_peak_bytes"] is not None for measured, _ in rows)
    return Table(
        "Start and memory",
        (
            *("engine", "start-up s", "opening s", "first run ms", "peak MB"),
            *(["peak CUDA MB"] if on_cuda else []),
        ),
        tuple(
            (
                measured.candidate.name,
                measured.start_seconds,
                measured.engine["open_seconds"],
                1e3 * measured.first_run_seconds,
                _megabytes(measured.memory["peak_bytes"]),
                *([_megabytes(measured.memory["cuda_peak_bytes"])] if on_cuda else []),
            )
            for measured, _ in rows
        ),
    )


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _data(measured: Measured, summary: Summary) -> dict[str, Any]:
    candidate = measured.candidate
    return {
        "name": candidate.name,
        "subject": candidate.subject,
        "subject_bytes": Path(candidate.subject).stat().st_size if not candidate.is_model else None,
        "checkpoint": candidate.checkpoint,
        "backend": candidate.backend,
        "engine": measured.engine["engine"],
        "device": candidate.device,
        "threads": measured.threads,
        "threads_asked": candidate.threads,
        "input_shape": list(measured.shape),
        "output": measured.engine["output"],
        "views_left_out": measured.engine["views"],
        "approximations": list(measured.engine["approximations"]),
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

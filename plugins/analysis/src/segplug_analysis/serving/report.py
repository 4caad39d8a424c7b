"""The report of a server, from its answers."""

from __future__ import annotations

from collections.abc import Sequence

from segplug.results import AnalyzeReport, Table
from segplug_analysis.serving.data import as_data
from segplug_analysis.serving.drawing import figures_of
from segplug_analysis.serving.failures import failures_of, status_text
from segplug_analysis.serving.load import PARTS
from segplug_analysis.serving.measurements import Measurements
from segplug_analysis.serving.notes import notes_of
from segplug_analysis.serving.numbers import LevelNumbers, numbers_of

__all__ = ["make_report"]


def make_report(measured: Measurements) -> AnalyzeReport:
    """Tables, pictures, data, notes and failures."""
    numbers = [numbers_of(level) for level in measured.levels]
    tables = (
        _agreement(measured),
        _latency(numbers),
        _inside(numbers),
        _errors(numbers),
        _changes(measured),
        _requests(measured),
    )
    return AnalyzeReport(
        title=f"Serving of {measured.meta.name} at {measured.plan.url}",
        data=as_data(measured, numbers),
        tables=tuple(table for table in tables if table.rows),
        figures=figures_of(measured),
        notes=tuple(notes_of(measured, numbers)),
        failures=tuple(failures_of(measured, numbers)),
    )


def _agreement(measured: Measurements) -> Table:
    return Table(
        "Agreement with PyTorch",
        (
            "image",
            "height x width",
            "labels differ %",
            "pixels",
            "away from near-ties",
            "near-ties %",
            "passed",
        ),
        tuple(
            (
                measured.pictures[one.image].name,
                "x".join(str(length) for length in one.served.shape),
                100 * one.differing / one.served.size,
                one.differing,
                one.firm_differing,
                100 * one.comparison.near_ties,
                one.comparison.passed,
            )
            for one in measured.checks.agreements
        ),
    )


def _latency(numbers: Sequence[LevelNumbers]) -> Table:
    names = ("p50", "p90", "p95", "p99", "maximum", "mean")
    return Table(
        "Latency and throughput",
        ("clients", "images/s", *(f"{name} ms" for name in names), "answered", "failed", "other mask"),
        tuple(
            (
                each.concurrency,
                each.per_second,
                *(None if each.latency is None else 1e3 * getattr(each.latency, name) for name in names),
                each.answered,
                sum(each.errors.values()),
                each.changed,
            )
            for each in numbers
        ),
    )


def _inside(numbers: Sequence[LevelNumbers]) -> Table:
    return Table(
        "Time inside the server (medians, ms)",
        ("clients", "at the client", *PARTS, "overhead", "p95 overhead", "mean batch"),
        tuple(
            (
                each.concurrency,
                1e3 * each.latency.p50,
                *(1e3 * each.inside.parts[part] for part in PARTS),
                1e3 * each.inside.overhead,
                1e3 * each.inside.overhead_p95,
                each.inside.mean_batch,
            )
            for each in numbers
            if each.inside is not None and each.latency is not None
        ),
    )


def _errors(numbers: Sequence[LevelNumbers]) -> Table:
    return Table(
        "Requests that failed",
        ("clients", "status", "requests", "reason"),
        tuple(
            (each.concurrency, status_text(status), count, reason)
            for each in numbers
            for (status, reason), count in sorted(each.errors.items())
        ),
    )


def _changes(measured: Measurements) -> Table:
    compared = bool(measured.checks.agreements)
    harmless = "only near-ties differ" if compared else "few pixels differ; not compared with PyTorch"
    return Table(
        "Masks that changed",
        ("image", "replies", "pixels that differ", "finding"),
        tuple(
            (
                measured.pictures[change.image].name,
                measured.replies(change.image, change.position),
                change.differing,
                change.problem or harmless,
            )
            for change in measured.checks.changes
        ),
    )


def _requests(measured: Measurements) -> Table:
    return Table(
        "requests",
        ("clients", "timed", "image", "status", "ms", *(f"{part} ms" for part in PARTS), "batch", "mask"),
        tuple(
            (
                level.concurrency,
                timed,
                measured.pictures[one.image].name,
                one.status,
                1e3 * one.seconds,
                *(1e3 * one.parts[part] if part in one.parts else None for part in PARTS),
                one.batch,
                one.mask,
            )
            for level in measured.levels
            for timed, exchanges in ((False, level.untimed), (True, level.timed))
            for one in exchanges
        ),
        only_csv=True,
    )

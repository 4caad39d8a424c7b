"""Tables, data and notes of the curves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from segplug.results import Table
from segplug_analysis.logs.curve import LARGEST
from segplug_analysis.logs.run import Run
from segplug_analysis.logs.series import Series, Unit, is_score, without_values

__all__ = ["data_of", "notes_of", "tables_of"]


def data_of(runs: Sequence[Run], series: Sequence[Series], unit: Unit, smooth: float) -> dict[str, Any]:
    """The report's data: JSON types."""
    return {
        "unit": unit,
        "smooth": smooth,
        "curves": [one.to_dict() for one in series],
        "runs": [_run_data(run) for run in runs],
    }


def _run_data(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "keys": sorted(run.known),
        "keys_complete": not run.unlisted,
        "by_epoch": run.by_epoch,
        "resumes": run.resumes,
        "replaced_points": run.replaced,
        "files": [
            {
                "path": str(counts.path),
                "lines": counts.lines,
                "training_lines": counts.training,
                "validation_lines": counts.validation,
                "validations_called_train": counts.misnamed,
                "other_lines": counts.other,
                "skipped_lines": counts.skipped,
            }
            for counts in run.files
        ],
    }


def tables_of(runs: Sequence[Run], series: Sequence[Series], unit: Unit) -> tuple[Table, ...]:
    """A summary of the curves, the lines that were read, and every point that is drawn."""
    return (_curve_table(series, unit), _file_table(runs), _point_table(series, unit))


def _curve_table(series: Sequence[Series], unit: Unit) -> Table:
    rows = []
    for one in series:
        best, at = one.best or (None, None)
        position = int(at) if at is not None and at == int(at) else at
        ends = one.parts[0].first, one.parts[-1].last
        rows.append((one.run, one.key, one.mode, one.points, *ends, best, position))
    columns = ("run", "key", "lines", "points", "first", "last", "best", f"best at {unit}")
    return Table("curves", columns, tuple(rows))


def _file_table(runs: Sequence[Run]) -> Table:
    rows = tuple(
        (run.name, _file_name(counts.path), counts.training, counts.validation, counts.other, counts.skipped)
        for run in runs
        for counts in run.files
    )
    return Table("lines of the logs", ("run", "file", "train", "val", "no numbers", "skipped"), rows)


def _file_name(path: Path) -> str:
    """The name of a file; of mmengine's, which are all called alike, with the folder of its start."""
    return "/".join(path.parts[-3:]) if path.parent.name == "vis_data" else path.name


def _point_table(series: Sequence[Series], unit: Unit) -> Table:
    rows = tuple(
        (one.run, one.key, one.mode, x, part.mean, smoothed, part.points)
        + ((part.low, part.high) if part.finite else (None, None))
        for one in series
        for x, part, smoothed in zip(
            one.x, one.parts, one.smoothed if one.smooth else [None] * len(one.x), strict=True
        )
    )
    columns = ("run", "key", "lines", unit, "mean", "smoothed", "points", "lowest", "highest")
    return Table("points", columns, rows, only_csv=True)


def notes_of(
    runs: Sequence[Run],
    series: Sequence[Series],
    keys: Sequence[str],
    unit: Unit,
    smooth: float,
    *,
    log_y: bool,
) -> tuple[str, ...]:
    """The notes that explain the curves."""
    return (
        *_about_lines(runs),
        *_about_keys(runs, series, keys),
        *_about_axes(runs, series, unit, smooth, log_y=log_y),
    )


def _about_lines(runs: Sequence[Run]) -> Iterator[str]:
    for run in runs:
        skipped = sum(counts.skipped for counts in run.files)
        if skipped:
            lines = "1 line is" if skipped == 1 else f"{skipped} lines are"
            yield f"{run.name}: {lines} truncated or no JSON, and skipped"
        misnamed = sum(counts.misnamed for counts in run.files)
        if misnamed:
            yield (
                f"{run.name}: {misnamed} lines that the log calls train hold scores and no loss; they are "
                "taken for validations"
            )
        if run.resumes:
            unit = "epoch" if run.by_epoch else "iteration"
            places = [str(place.epoch if run.by_epoch else place.iteration) for place in run.resumed_at]
            more = run.resumes - len(places)
            shown = ", ".join(places) + (f" and {more} times more" if more else "")
            yield (
                f"{run.name} was resumed from {unit} {shown}; points that were computed again replace "
                f"{run.replaced} older points, which are shown as (replaced)"
            )
        emptied = [f"{key} ({mode})" for (key, mode), curve in run.curves.items() if not curve.bins]
        if emptied:
            yield (
                f"{run.name} was resumed from before its first {', '.join(emptied)}: all its points were "
                "replaced, or the log does not go on"
            )


def _about_keys(runs: Sequence[Run], series: Sequence[Series], keys: Sequence[str]) -> Iterator[str]:
    for run in runs:
        missing = [key for key in keys if not run.has(key)]
        if missing:
            yield f"{run.name} has no {', '.join(missing)}"
    for key in keys:
        scales = {one.panel for one in series if one.key == key and is_score(key)}
        if len(scales) > 1:
            yield f"{key} is in percent in some runs and a fraction in others: they are in separate panels"


def _about_axes(
    runs: Sequence[Run], series: Sequence[Series], unit: Unit, smooth: float, *, log_y: bool
) -> Iterator[str]:
    validated = [one for one in series if one.mode == "val"]
    trained = {run.name for run in runs if any(counts.training for counts in run.files)}
    if any(one.run in trained for one in validated):
        yield (
            "validations are drawn at the last training line before them, or at a later iteration or epoch "
            "that they name"
        )
    if any(before == after for one in validated for before, after in itertools.pairwise(one.x)):
        yield "several validations are drawn at one place: the log has no training line between them"
    gaps = sum(part.points - part.finite for one in series for part in one.parts)
    if gaps:
        yield f"{gaps} values are left out of the curves: not finite, or beyond {LARGEST:.0e}"
    if unit == "iteration":
        for run in runs:
            if run.by_epoch:
                yield (
                    f"{run.name} counts epochs, and other runs count iterations: its epochs are assumed to "
                    f"have {run.epoch_length} iterations, the largest number that it logged"
                )
    wide = [one for one in series if one.width > 1]
    if wide:
        yield (
            f"{len(wide)} curves have more points than a picture can show: one drawn point stands for up to "
            f"{max(one.width for one in wide)} points, and the band around a line is their range"
        )
    if smooth:
        yield "training curves are smoothed; first, last and best values, and validations, are not"
    empty = without_values(series, positive=log_y)
    if empty:
        why = "no value above 0 for the log axis" if log_y else "no finite value"
        yield f"not drawn, {why}: {', '.join(empty)}"

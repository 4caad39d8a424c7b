"""Tables, data and notes of the curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from segplug.requests import Table
from segplug_analysis.logs.run import Run
from segplug_analysis.logs.series import Series, Unit, is_score, without_values

__all__ = ["data_of", "notes_of", "tables_of"]

_NAMED = 5
"""How many of many a note names."""


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
        "by_epoch": run.by_epoch,
        "resumes": len(run.resumed_at),
        "replaced_points": run.replaced,
        "files": [
            {
                "path": str(counts.path),
                "lines": counts.lines,
                "training_lines": counts.training,
                "validation_lines": counts.validation,
                "other_lines": counts.other,
                "skipped_lines": counts.skipped,
            }
            for counts in run.files
        ],
    }


def tables_of(runs: Sequence[Run], series: Sequence[Series], unit: Unit) -> tuple[Table, ...]:
    """What the curves come to, and what was read."""
    return (_curve_table(series, unit), _file_table(runs))


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
        (run.name, counts.path.name, counts.training, counts.validation, counts.other, counts.skipped)
        for run in runs
        for counts in run.files
    )
    return Table("lines of the logs", ("run", "file", "train", "val", "no numbers", "skipped"), rows)


def notes_of(
    runs: Sequence[Run],
    series: Sequence[Series],
    keys: Sequence[str],
    unit: Unit,
    smooth: float,
    *,
    log_y: bool,
) -> tuple[str, ...]:
    """What must be known to read the curves rightly."""
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
            yield f"{run.name}: {lines} cut or no JSON, and not counted in"
        if run.resumed_at:
            unit = "epoch" if run.by_epoch else "iteration"
            places = [str(place.epoch if run.by_epoch else place.iteration) for place in run.resumed_at]
            shown = ", ".join(places[:_NAMED]) + (", ..." if len(places) > _NAMED else "")
            yield (
                f"{run.name} was resumed: it goes back to {unit} {shown}, and what "
                f"it computed again took the place of {run.replaced} older points"
            )


def _about_keys(runs: Sequence[Run], series: Sequence[Series], keys: Sequence[str]) -> Iterator[str]:
    for run in runs:
        missing = [key for key in keys if key not in run.known]
        if missing:
            yield f"{run.name} has no {', '.join(missing)}"
    for key in keys:
        scales = {one.panel for one in series if one.key == key and is_score(key)}
        if len(scales) > 1:
            yield f"{key} is in percent in some runs and a fraction in others: they have panels of their own"


def _about_axes(
    runs: Sequence[Run], series: Sequence[Series], unit: Unit, smooth: float, *, log_y: bool
) -> Iterator[str]:
    if any(one.mode == "val" for one in series):
        yield "validations stand at the last training line that was logged before them"
    if unit == "iteration":
        for run in runs:
            if run.by_epoch:
                yield (
                    f"{run.name} counts by epochs, other runs by iterations: its epochs were taken to have "
                    f"{run.epoch_length} iterations, the most that it logged of one"
                )
    wide = [one for one in series if one.width > 1]
    if wide:
        yield (
            f"{len(wide)} curves have more points than a picture can show: each of theirs stands for up to "
            f"{max(one.width for one in wide)}, the band around a line goes from the lowest to the highest"
        )
    if smooth:
        yield "training curves are smoothed; first, last, best and validations are the log's own values"
    empty = without_values(series, positive=log_y)
    if empty:
        why = "no value above 0, which a log axis needs" if log_y else "no finite value"
        yield f"not drawn, {why}: {', '.join(empty)}"

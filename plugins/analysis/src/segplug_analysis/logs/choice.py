"""Which curves are shown, on which axis, under which names."""

from __future__ import annotations

from collections.abc import Sequence

from segplug.errors import UsageError
from segplug.options import nearest
from segplug_analysis.logs.curve import Place
from segplug_analysis.logs.run import Run
from segplug_analysis.logs.series import Series, Unit

__all__ = ["DEFAULT_KEYS", "all_series", "check_legend", "choose_keys", "choose_unit"]

_DEFAULT_SCORES = ("mIoU", "mAcc", "aAcc")
DEFAULT_KEYS = (*_DEFAULT_SCORES, "loss")
"""The keys that are kept while nobody has said which; :func:`choose_keys` chooses of them."""


def choose_keys(asked: Sequence[str], runs: Sequence[Run]) -> tuple[str, ...]:
    """The keys to show: those that were asked for, else the scores, else the loss.

    Raises:
        UsageError: a key is in none of the logs.
    """
    known = set[str]().union(*(run.known for run in runs))
    listing = f"there are: {', '.join(sorted(known)) or 'none'}"
    if not asked:
        scores = tuple(key for key in _DEFAULT_SCORES if key in known)
        keys = scores or tuple(key for key in ("loss",) if key in known)
        if not keys:
            raise UsageError("the logs have no mIoU, mAcc, aAcc nor loss: name --keys", hint=listing)
        return keys
    missing = [key for key in asked if key not in known]
    if missing:
        guess = nearest(missing[0], known)
        meant = f"; did you mean '{guess}'?" if guess else ""
        raise UsageError(f"no log has the key {' nor '.join(missing)}{meant}", hint=listing)
    return tuple(dict.fromkeys(asked))


def choose_unit(runs: Sequence[Run]) -> Unit:
    """Epochs where all runs count by them, else iterations.

    Raises:
        UsageError: iterations are needed, and a run does not say how many an epoch has.
    """
    if all(run.by_epoch for run in runs):
        return "epoch"
    lost = [run.name for run in runs if run.by_epoch and not run.epoch_length]
    if lost:
        raise UsageError(
            f"the log of {lost[0]} counts epochs and names no iteration, other logs count iterations",
            hint="draw it apart",
        )
    return "iteration"


def check_legend(legend: Sequence[str], runs: int, keys: int) -> None:
    """Refuse names that are neither as many as runs nor as many as runs and keys.

    Raises:
        UsageError: as said.
    """
    if len(legend) not in (runs, runs * keys):
        each = f" or {runs * keys}, one for each run and key" if keys > 1 else ""
        names = "1 name" if runs == 1 else f"{runs} names"
        raise UsageError(f"--legend takes {names}, one for each run{each}; not {len(legend)}")


def all_series(
    runs: Sequence[Run], keys: Sequence[str], legend: Sequence[str], unit: Unit
) -> tuple[Series, ...]:
    """The curves of the keys, run by run, on one axis and with their labels.

    Raises:
        UsageError: ``legend`` has the wrong number of names.
    """
    if legend:
        check_legend(legend, len(runs), len(keys))
    found = []
    for number, run in enumerate(runs):
        for position, key in enumerate(keys):
            name = _label(run.name, number, key, position, len(runs), len(keys), legend)
            modes = [mode for mode in ("train", "val") if (key, mode) in run.curves]
            for mode in modes:
                # A user's own name stays as it is, unless two curves would have it.
                label = f"{name} ({mode})" if len(modes) > 1 or not legend else name
                found.append(_as_series(run, key, mode, label, unit))
    return tuple(found)


def _label(
    run: str, number: int, key: str, position: int, runs: int, keys: int, legend: Sequence[str]
) -> str:
    if legend and len(legend) == runs * keys:
        return legend[number * keys + position]
    name = legend[number] if legend else run
    return f"{name} {key}" if keys > 1 or not legend else name


def _as_series(run: Run, key: str, mode: str, label: str, unit: Unit) -> Series:
    curve = run.curves[key, mode]
    places = {place for part in curve.bins for place in (part.end, part.low_at, part.high_at)}
    x_of = {place: _position(place, run, unit) for place in places}
    return Series(
        run=run.name,
        key=key,
        mode=mode,
        label=label,
        unit=unit,
        width=curve.width,
        parts=tuple(curve.bins),
        x=tuple(x_of[part.end] for part in curve.bins),
        x_of=x_of,
        smooth=curve.smooth > 0,
    )


def _position(place: Place, run: Run, unit: Unit) -> float:
    if not run.by_epoch:
        return place.iteration
    if unit == "iteration":
        return (place.epoch - 1) * run.epoch_length + place.iteration
    return place.epoch - 1 + place.iteration / run.epoch_length if run.epoch_length else place.epoch

"""Choose which curves are shown, on which axis, with which labels."""

from __future__ import annotations

from collections.abc import Sequence

from segplug.errors import UsageError
from segplug.options import nearest
from segplug_analysis.logs.curve import Place
from segplug_analysis.logs.run import Run
from segplug_analysis.logs.series import REPLACED, Series, Unit, scale_of

__all__ = ["DEFAULT_KEYS", "all_series", "check_legend", "choose_keys", "choose_unit"]

_LISTED = 40
"""How many keys an error lists."""

_DEFAULT_SCORES = ("mIoU", "mAcc", "aAcc")
DEFAULT_KEYS = (*_DEFAULT_SCORES, "loss")
"""The keys that are read if none are named; :func:`choose_keys` chooses from them."""


def choose_keys(asked: Sequence[str], runs: Sequence[Run]) -> tuple[str, ...]:
    """The keys to show: those that are named, else the scores, and the loss if no score has current points.

    Raises:
        UsageError: a key is in none of the logs.
    """
    missing = [key for key in asked if not any(run.has(key) for run in runs)]
    if missing:
        known = set[str]().union(*(run.known for run in runs))
        guess = nearest(missing[0], known)
        meant = f"; did you mean '{guess}'?" if guess else ""
        raise UsageError(f"no log has the key {' nor '.join(missing)}{meant}", hint=_listing(runs))
    if asked:
        return tuple(dict.fromkeys(asked))
    chosen: list[str] = []
    for keys in (_DEFAULT_SCORES, ("loss",)):
        chosen += [key for key in keys if any(run.has(key) for run in runs)]
        if any(run.is_current(key) for run in runs for key in chosen):
            return tuple(chosen)
    if chosen:  # all their points were computed again, and the log ends before
        return tuple(chosen)
    raise UsageError("the logs have no mIoU, mAcc, aAcc nor loss: name --keys", hint=_listing(runs))


def _listing(runs: Sequence[Run]) -> str:
    known = sorted(set[str]().union(*(run.known for run in runs)))
    shown = ", ".join(known[:_LISTED]) or "none"
    more = len(known) - _LISTED
    if more > 0:
        shown += f" and {more} more" + (" at least" if any(run.unlisted for run in runs) else "")
    return f"the logs have {shown}"


def choose_unit(runs: Sequence[Run], keys: Sequence[str]) -> Unit:
    """Epochs if all drawn runs count epochs, else iterations.

    Raises:
        UsageError: iterations are needed, but for one run the length of an epoch is unknown.
    """
    drawn = [run for run in runs if any(run.modes(key) for key in keys)]
    if all(run.by_epoch for run in drawn):
        return "epoch"
    lost = [run.name for run in drawn if run.by_epoch and not run.epoch_length]
    if lost:
        raise UsageError(
            f"the log of {lost[0]} has epochs only, and other logs count iterations",
            hint="draw it without the others",
        )
    return "iteration"


def check_legend(legend: Sequence[str], runs: int, keys: int) -> None:
    """Check the number of names in the legend.

    Raises:
        UsageError: there is not one for each run, nor one for each run and key.
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
            modes = run.modes(key)
            for mode in modes:
                # A name that the user gave stays unchanged, unless two curves would have it.
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
    curve = run.curve(key, mode)
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
        percent=(scale_of(key), mode.removesuffix(REPLACED)) in run.in_percent,
    )


def _position(place: Place, run: Run, unit: Unit) -> float:
    if not run.by_epoch:
        return place.iteration
    length = run.epoch_length
    if unit == "iteration":
        return float(
            place.epoch * length if place.ends_epoch else (place.epoch - 1) * length + place.iteration
        )
    if place.ends_epoch or not length:
        return place.epoch
    return place.epoch - 1 + place.iteration / length

"""One run: its files read in order, every line put in its place, resumed parts over what they repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segplug.errors import SegplugError
from segplug.reporting import Progress
from segplug_analysis.logs.curve import Curve, Place
from segplug_analysis.logs.lines import FileCounts, LogLine, key_names, number_at, read_lines

__all__ = ["Mode", "Run", "read_run"]

Mode = str
"""``train`` or ``val``."""


@dataclass
class Run:
    """The curves of one run, and how its log was read.

    Args:
        name: What people call it.
        keys: The curves to keep; nothing else is stored.
        smooth: As :class:`~segplug_analysis.logs.curve.Curve` has it, for training lines.
    """

    name: str
    keys: Sequence[str]
    smooth: float = 0.0
    files: list[FileCounts] = field(default_factory=list)
    curves: dict[tuple[str, Mode], Curve] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    """All keys of numbers that the log has."""
    by_epoch: bool = False
    """Whether iterations start again in every epoch."""
    epoch_length: int = 0
    """Most iterations that were logged of one epoch; a lower bound of its true length."""
    resumed_at: list[Place] = field(default_factory=list)
    """Where training lines went back to, in order."""
    _last: Place | None = None

    @property
    def replaced(self) -> int:
        """Points that were computed again after a resume."""
        return sum(curve.replaced for curve in self.curves.values())

    def feed(self, line: LogLine) -> None:
        """Take the next line."""
        self.known.update(key_names(line.record, self.known))
        place = self._training_place(line) if line.training else self._validation_place(line)
        mode = "train" if line.training else "val"
        for key in self.keys:
            value = number_at(line.record, key)
            if value is None:
                continue
            if (key, mode) not in self.curves:
                # Validations are few: smoothed, they would only lag behind.
                self.curves[key, mode] = Curve(self.smooth if line.training else 0.0)
            self.curves[key, mode].add(place, value)

    def end(self) -> None:
        """All lines were read."""
        if self._last is None and self.curves:
            # Only validation lines, which say nothing but their epoch (or, in mmengine, a step).
            ends = (part.end for curve in self.curves.values() for part in curve.bins)
            self.by_epoch = all(end.iteration == 0 for end in ends)

    def _training_place(self, line: LogLine) -> Place:
        place = Place(line.epoch or 0, line.iteration or 0)
        before = self._last
        if before is not None:
            if place.epoch > before.epoch and place.iteration <= before.iteration:
                # An epoch later, and the iterations begin again. A resumed run that counts by
                # iterations begins with its first epoch again, so it does not look like this.
                self.by_epoch = True
            if self._order(place) < self._order(before):
                self._resume(place)
        self._last = place
        self.epoch_length = max(self.epoch_length, place.iteration)
        return place

    def _resume(self, place: Place) -> None:
        self.resumed_at.append(place)
        begin = self._order(place)
        for curve in self.curves.values():
            curve.rewind(lambda start: self._order(start) < begin)

    def _validation_place(self, line: LogLine) -> Place:
        """At the last training iteration, unless the line names a later one: validation comes after it.

        A smaller number is none of an iteration: mmengine can number validations by epochs.
        """
        last = self._last
        if last is None:
            return Place(line.epoch or 0, line.iteration or 0)
        if line.iteration is not None and line.iteration > last.iteration:
            return Place(last.epoch, line.iteration)
        return last

    def _order(self, place: Place) -> Place | tuple[int]:
        return place if self.by_epoch else (place.iteration,)


def read_run(run: Run, files: Iterable[Path], progress: Progress) -> Run:
    """Feed the files of a run to it, in order.

    Raises:
        SegplugError: a file cannot be read, or none of them has a line with numbers.
    """
    for path in files:
        counts = FileCounts(path)
        run.files.append(counts)
        for line in read_lines(counts, progress):
            run.feed(line)
    run.end()
    if not any(counts.training or counts.validation for counts in run.files):
        raise _empty(run.files)
    return run


def _empty(files: Sequence[FileCounts]) -> SegplugError:
    where = str(files[0].path) if len(files) == 1 else f"{files[0].path} and {len(files) - 1} more"
    lines, skipped = sum(counts.lines for counts in files), sum(counts.skipped for counts in files)
    if not lines:
        return SegplugError(f"the log {where} is empty")
    hint = "name mmcv's .log.json or mmengine's vis_data/scalars.json" if skipped == lines else None
    return SegplugError(
        f"the log {where} has no line of a training: of its {lines} lines, {skipped} are no JSON", hint=hint
    )

"""One run: its files are read in order, and lines of a resumed run replace those that they repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segplug.errors import SegplugError
from segplug.progress import Progress
from segplug_analysis.logs.curve import Curve, Place
from segplug_analysis.logs.lines import FileCounts, LogLine, key_names, number_at, read_lines
from segplug_analysis.logs.series import REPLACED, is_percent, scale_of

__all__ = ["Mode", "Run", "read_run"]

Mode = str
"""``train`` or ``val``."""

_MODES: tuple[Mode, ...] = ("train", "val")

_KEYS, _RESUMES = 1000, 5
"""How many keys and places a run remembers; a log can have any number."""


@dataclass
class Run:
    """The curves of one run, and how its log was read.

    Args:
        name: Name of the run, for people.
        keys: The curves to keep; nothing else is stored.
        smooth: As :class:`~segplug_analysis.logs.curve.Curve` has it, for training lines.
    """

    name: str
    keys: Sequence[str]
    smooth: float = 0.0
    files: list[FileCounts] = field(default_factory=list)
    curves: dict[tuple[str, Mode], Curve] = field(default_factory=dict)
    """The curves of the keys that the log has. A resume can leave a curve without points."""
    older: dict[tuple[str, Mode], Curve] = field(default_factory=dict)
    """The points of each curve that a resumed run computed again."""
    known: set[str] = field(default_factory=set)
    """All keys of numbers in the log, unless ``unlisted``."""
    unlisted: bool = False
    """Whether the log has more keys than a run remembers."""
    in_percent: set[tuple[str, Mode]] = field(default_factory=set)
    """Which scores are in percent, by :func:`~segplug_analysis.logs.series.scale_of` and mode."""
    by_epoch: bool = False
    """Whether iterations start again in every epoch."""
    epoch_length: int = 0
    """The largest iteration that was logged in an epoch: a lower bound of its length."""
    resumes: int = 0
    resumed_at: list[Place] = field(default_factory=list)
    """The places from which runs were resumed, in order; at most the first few."""
    _last: Place | None = None
    """Place of the last training line."""
    _validated: Place | None = None
    """Place of the last validation line after it."""
    _names_iterations: bool = False

    @property
    def replaced(self) -> int:
        """How many points were computed again after a resume."""
        return sum(curve.replaced for curve in self.curves.values())

    def modes(self, key: str) -> list[Mode]:
        """The modes that have points of a key: current ones first, then replaced ones."""
        return [*self._current(key), *(mode + REPLACED for mode in _MODES if (key, mode) in self.older)]

    def is_current(self, key: str) -> bool:
        """Whether a key has points that no resumed run computed again."""
        return bool(self._current(key))

    def _current(self, key: str) -> list[Mode]:
        return [mode for mode in _MODES if (key, mode) in self.curves and self.curves[key, mode].bins]

    def curve(self, key: str, mode: Mode) -> Curve:
        """The curve of a key in one of its :meth:`modes`."""
        if mode.endswith(REPLACED):
            return self.older[key, mode.removesuffix(REPLACED)]
        return self.curves[key, mode]

    def has(self, key: str) -> bool:
        """Whether the log has numbers of a key, even if a resume removed all of them."""
        return any((key, mode) in self.curves for mode in _MODES)

    def feed(self, line: LogLine) -> None:
        """Add the next line."""
        mode = "train" if line.training else "val"
        self._look_at_keys(line, mode)
        place = self._training_place(line) if line.training else self._validation_place(line)
        self._names_iterations |= place.iteration != 0
        for key in self.keys:
            value = number_at(line.record, key)
            if value is None:
                continue
            if (key, mode) not in self.curves:
                # Validations are few: smoothing them would only delay the curve.
                self.curves[key, mode] = Curve(self.smooth if line.training else 0.0)
            self.curves[key, mode].add(place, value)

    def end(self) -> None:
        """Finish: all lines were read."""
        # Only epochs are named: one training line for each, or only validations.
        self.by_epoch |= not self._names_iterations

    def _look_at_keys(self, line: LogLine, mode: Mode) -> None:
        if not self.unlisted:
            for name in key_names(line.record, self.known):
                if len(self.known) == _KEYS:
                    self.unlisted = True
                    break
                self.known.add(name)
        for key, value in line.record.items():
            if is_percent(key, value):
                self.in_percent.add((scale_of(key), mode))

    def _training_place(self, line: LogLine) -> Place:
        place = Place(line.epoch or 0, line.iteration or 0)
        before, validated = self._last, self._validated
        if before is not None:
            if place.epoch > before.epoch and place.iteration <= before.iteration:
                # A later epoch with a smaller iteration. A resumed run that counts iterations begins
                # with epoch 1 again, so it is not taken for one that counts epochs.
                self.by_epoch = True
            validated_later = self.by_epoch and validated is not None and validated.epoch > place.epoch
            if self._order(place) < self._order(before) or validated_later:
                self._resume(place, ("train", "val"))
        self._last, self._validated = place, None
        self.epoch_length = max(self.epoch_length, place.iteration)
        return place

    def _validation_place(self, line: LogLine) -> Place:
        """The place of the last training line before it, or a later iteration or epoch that it names.

        A smaller number is not an iteration: mmengine can number validations by epochs.
        """
        last = self._last or Place(0, 0)
        place = last
        if line.iteration is not None and line.iteration > last.iteration:
            place = Place(last.epoch, line.iteration)
        elif line.epoch is not None and line.epoch > last.epoch:
            place = Place(line.epoch, last.iteration, ends_epoch=True)
        if self._validated is not None and self._order(place) < self._order(self._validated):
            # No training line was logged since then, so there is none to remove.
            self._resume(place, ("val",))
        self._validated = place
        return place

    def _resume(self, place: Place, modes: Sequence[Mode]) -> None:
        self.resumes += 1
        if self.resumes <= _RESUMES:
            self.resumed_at.append(place)
        begin = self._order(place)
        for (key, mode), curve in self.curves.items():
            if mode in modes and (removed := curve.rewind(lambda start: self._order(start) < begin)):
                self.older.setdefault((key, mode), Curve()).extend(removed)

    def _order(self, place: Place) -> tuple[int, ...]:
        if self.by_epoch or self._last is None:
            return place.epoch, place.ends_epoch, place.iteration
        return (place.iteration,)


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
        f"the log {where} has no training or validation lines: {skipped} of its {lines} lines are no JSON",
        hint=hint,
    )

"""Show what long work is doing: live on a terminal, as lines with times in a log.

On a terminal every open stage is a line that is drawn again and again, and a stage that took a second or
more leaves one dim line with its time. In a log a stage is one line, printed when it has gone on for half a
second, so that short work stays quiet; further lines say how far it is, at longer intervals.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.text import Text

from segplug.text import printable_line

__all__ = ["Stage", "Stages", "duration", "opened", "stages_on"]

_SAID_AFTER = 0.5
"""Seconds that a stage must go on before a log says it."""

_COUNT_EVERY, _TIME_EVERY = 10.0, 60.0
"""Seconds between lines of a log about one stage: where its steps are counted, and where they are not."""

_LINES, _LONGEST_SILENCE = 60, 300.0
"""In long work lines come further apart, up to these seconds: CI ends jobs that are silent for 10 minutes."""

_KEPT_FROM = 1.0
"""Seconds that a stage must have taken to leave a line on a terminal."""

_SAMPLES = 200
"""The last steps, from which the rate is computed."""

_WIDEST_BAR, _NARROWEST_BAR = 30, 8


@dataclass
class Stage:
    """A stage that is open."""

    description: str
    total: int | None
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    next_line: float = 0.0
    """When a log says it the next time."""
    said: bool = False
    _samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def advance(self, steps: int = 1) -> None:
        """``steps`` more are done. Any thread may call it."""
        with self._lock:
            self.done += steps
            self._samples.append((time.monotonic(), self.done))

    @property
    def seconds(self) -> float:
        """How long it has been open."""
        return time.monotonic() - self.started

    @property
    def rate(self) -> float | None:
        """Steps in a second, lately; the first are left out, since a resumed run has done many at once."""
        with self._lock:
            samples = tuple(self._samples)
        if len(samples) < 2 or samples[-1][0] == samples[0][0]:
            return None
        return (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0])

    def count(self) -> list[str]:
        """Words about the steps: how many, how fast, how long the rest takes. The most important first."""
        if self.total is None:
            return []
        words = [f"{self.done} of {self.total}"]
        if rate := self.rate:
            words.append(f"{rate:.1f}/s" if rate >= 1 else f"{duration(1 / rate)} each")
            if self.done < self.total:
                words.append(f"{duration(math.ceil((self.total - self.done) / rate))} left")
        return words


def duration(seconds: float) -> str:
    """A time in words, with tenths of a second if it is no whole number and short."""
    if seconds < 10 and not isinstance(seconds, int):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Stages(Protocol):
    """Shows the stages that are open."""

    def open(self, stage: Stage) -> None:
        """Show a stage."""
        ...

    def close(self, stage: Stage, *, finished: bool) -> None:
        """It has ended; ``finished``: without an error."""
        ...


def stages_on(console: Console) -> Stages:
    """What shows stages on a console.

    FORCE_COLOR, as in many logs, makes no terminal: it is the stream that must be one.
    """
    return _Live(console) if console.is_interactive and console.file.isatty() else _Log(console)


@contextmanager
def opened(stages: Stages, description: str, total: int | None) -> Iterator[Stage]:
    """A stage that is shown while the context is open."""
    stage = Stage(printable_line(description), total)
    finished = False
    try:
        stages.open(stage)  # a signal may come in it
        yield stage
        finished = True
    finally:
        stages.close(stage, finished=finished)


class _Log:
    """Says stages in lines. A thread does, since the work itself is busy in libraries."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open: list[Stage] = []
        self._changed = threading.Condition()
        self._watched = False

    def open(self, stage: Stage) -> None:
        stage.next_line = stage.started + _SAID_AFTER
        with self._changed:
            self._open.append(stage)
            if not self._watched:
                threading.Thread(target=self._watch, name="segplug-stages", daemon=True).start()
                self._watched = True
            self._changed.notify()

    def close(self, stage: Stage, *, finished: bool) -> None:
        with self._changed:
            self._open = [other for other in self._open if other is not stage]
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while self._open:
                now = time.monotonic()
                for stage in self._open:
                    if stage.next_line <= now:
                        self._say(stage, now)
                self._changed.wait(min(stage.next_line for stage in self._open) - time.monotonic())
            self._watched = False

    def _say(self, stage: Stage, now: float) -> None:
        every = _TIME_EVERY if stage.total is None else _COUNT_EVERY
        stage.next_line = now + max(every, min(stage.seconds / _LINES, _LONGEST_SILENCE))
        if not stage.said:
            stage.said = True
            began = datetime.now() - timedelta(seconds=now - stage.started)
            self._print(f"{began:%H:%M:%S} {stage.description}")
        elif stage is self._open[-1]:  # the others wait for it
            so_far = ", ".join(stage.count()) or f"for {duration(stage.seconds)} so far"
            self._print(f"{datetime.now():%H:%M:%S} {stage.description} {so_far}")

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


class _Live:
    """Draws stages on a terminal, the inner ones below the outer, under all that is printed meanwhile."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open: list[Stage] = []
        self._live: Live | None = None
        self._lock = threading.RLock()

    def open(self, stage: Stage) -> None:
        with self._lock:
            self._open.append(stage)
            if self._live is None:
                self._live = Live(
                    get_renderable=lambda: _Drawn(tuple(self._open)),
                    console=self._console,
                    transient=True,
                    refresh_per_second=8,
                    redirect_stdout=sys.stdout.isatty(),  # else it is a file, and stays one
                )
                self._live.start()

    def close(self, stage: Stage, *, finished: bool) -> None:
        with self._lock:
            self._open = [other for other in self._open if other is not stage]
            if not self._open and self._live is not None:
                live, self._live = self._live, None
                try:
                    live.stop()
                finally:
                    self._console.show_cursor(True)  # a second Ctrl-C may have ended the stop
            if finished and stage.seconds >= _KEPT_FROM:
                words = [f"  {stage.description}", *stage.count()[:1], duration(stage.seconds)]
                self._console.print(Text("  ".join(words), style="dim"))


@dataclass(frozen=True)
class _Drawn:
    """The open stages as lines of a terminal, none longer than it is wide."""

    stages: tuple[Stage, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width - 1
        for depth, stage in enumerate(self.stages):
            yield from _drawn(stage, depth, width, ascii_only=options.ascii_only)


def _drawn(stage: Stage, depth: int, width: int, *, ascii_only: bool) -> RenderResult:
    """One line: a mark that moves, the stage, its steps and times; what has no room is left out."""
    spinner = Spinner("line" if ascii_only else "dots")
    frame = int(stage.seconds * 1000 / spinner.interval) % len(spinner.frames)
    left = Text(f"{'  ' * depth}{spinner.frames[frame]} {stage.description}")
    count, *others = [*stage.count(), duration(int(stage.seconds))]
    if others:
        others = [others[-1], *others[:-1]]  # the time so far, the rate, the time that is left
    while others and left.cell_len + _length([count, *others]) > width:
        del others[-2 if len(others) > 2 else 0]
    left.truncate(max(width - _length([count, *others]), 1), overflow="crop" if ascii_only else "ellipsis")
    yield Text.assemble(left, "  ", (count, "bold" if stage.total else "dim"), end="")
    room = min(width - left.cell_len - _length([count, *others]) - 2, _WIDEST_BAR)
    if stage.total and room >= _NARROWEST_BAR:
        yield Text("  ", end="")
        yield ProgressBar(total=stage.total, completed=stage.done, width=room)
    yield Text("".join(f"  {word}" for word in others), style="dim")


def _length(words: list[str]) -> int:
    return sum(2 + cell_len(word) for word in words)

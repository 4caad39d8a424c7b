"""Time the candidates in turns, so that a machine that slows down slows all of them alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from segplug.engine import Axis
from segplug.errors import ShapeError, UsageError
from segplug.limits import why_no_input
from segplug_analysis.benchmark.candidates import Candidate
from segplug_analysis.benchmark.processes import Worker, pool

if TYPE_CHECKING:
    from segplug.progress import Reporter

__all__ = ["MAX_ROUNDS", "PAUSE_SECONDS", "Measured", "Plan", "Shape", "measure", "order_of"]

MAX_ROUNDS = 10
"""Each candidate's runs are spread over up to this many rounds."""

PAUSE_SECONDS = 0.02
"""Pause between two blocks, in which the threads of the last engine go to sleep."""

_UNTIMED = 1
"""Untimed runs at the start of a block: other engines have filled the processor's caches meanwhile."""

Shape = tuple[int, int, int, int]
"""N, channels, height, width of an input."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Plan:
    """How to measure."""

    runs: int
    """Timed runs of each candidate."""
    warmup: int
    """Untimed runs of each before the first round, after its very first run."""
    size: tuple[int, int] | None = None
    """Height and width for all; ``None``: each engine's own."""
    batch: int | None = None
    """Images in one run; ``None``: each engine's own fixed number, else the first fixed one, else one."""

    @property
    def blocks(self) -> list[int]:
        """Timed runs of each candidate in each round."""
        rounds = min(MAX_ROUNDS, self.runs)
        whole, rest = divmod(self.runs, rounds)
        return [whole + (index < rest) for index in range(rounds)]


@dataclass
class Measured:
    """What was measured of one candidate."""

    candidate: Candidate
    engine: Mapping[str, Any]
    """The engine, as its process describes it."""
    start_seconds: float
    """From the start of the process until the engine was open."""
    shape: Shape
    first_run_seconds: float = 0.0
    rounds: list[list[float]] = field(default_factory=list)
    """Seconds of each timed run, round by round."""
    memory: Mapping[str, int | None] = field(default_factory=dict)
    """Peak sizes at the end, in bytes."""

    @property
    def threads(self) -> int | None:
        """Threads of one run: as asked for, else as the library reports them; ``None``: unknown."""
        own: int | None = self.engine["torch_threads"] if self.candidate.is_model else None
        return self.candidate.threads or own


def measure(candidates: Sequence[Candidate], plan: Plan, reporter: Reporter) -> list[Measured]:
    """Open every candidate, then time them in turns.

    Raises:
        ShapeError: an engine does not take the input; nothing has been timed then.
        SegplugError: as the engine or its process fails; no process is left.
    """
    with pool() as start:
        workers = [start(candidates[0])]
        engines = [_opened(workers[0], reporter)]
        for candidate in candidates[1:]:  # one after the other: start-up is measured too
            workers.append(start(candidate))
            engines.append(_opened(workers[-1], reporter))
        shapes = _shapes(candidates, engines, plan)
        found = [
            Measured(worker.candidate, engine, worker.start_seconds, shape)
            for worker, engine, shape in zip(workers, engines, shapes, strict=True)
        ]
        _warm_up(workers, found, plan, reporter)
        _time(workers, found, plan, reporter)
        return found


def _opened(worker: Worker, reporter: Reporter) -> dict[str, Any]:
    with reporter.progress(f"opening {worker.candidate.name}", None):
        engine = worker.open()
    for warning in engine["warnings"]:
        reporter.warn(f"{worker.candidate.name}: {warning}")
    return engine


def _shapes(candidates: Sequence[Candidate], engines: Sequence[Mapping[str, Any]], plan: Plan) -> list[Shape]:
    """The input shape of each candidate: as asked for, else as its file or the first such file fixes it.

    So engines with free axes do the same work as engines with fixed ones.
    """
    shared_size = _first_fixed(engines, "height", "width")
    shared_batch = _first_fixed(engines, "batch")
    shapes = []
    for candidate, engine in zip(candidates, engines, strict=True):
        size = plan.size or _fixed(engine, "height", "width") or shared_size or engine["nominal_size"]
        if size is None:
            raise UsageError(
                f"{candidate.name}: it does not say its input size", hint="give --shape HEIGHT WIDTH"
            )
        (batch,) = (plan.batch,) if plan.batch else _fixed(engine, "batch") or shared_batch or (1,)
        for name, length in zip(("batch", "height", "width"), (batch, *size), strict=True):
            axis = Axis(**engine[name])
            if not axis.accepts(length):
                flag = "--batch" if name == "batch" else "--shape"
                raise ShapeError(
                    f"{candidate.name} does not take a {name} of {length}, only {axis}",
                    hint=f"give another {flag}",
                )
        if reason := why_no_input(size, channels=engine["channels"], batch=batch):
            raise ShapeError(f"{candidate.name}: {reason}", hint="give a smaller --shape or --batch")
        shapes.append((batch, engine["channels"], int(size[0]), int(size[1])))
    return shapes


def _first_fixed(engines: Sequence[Mapping[str, Any]], *names: str) -> tuple[int, ...] | None:
    return next(filter(None, (_fixed(engine, *names) for engine in engines)), None)


def _fixed(engine: Mapping[str, Any], *names: str) -> tuple[int, ...] | None:
    """The only lengths that an engine takes along these axes; ``None``: it takes several."""
    axes = [Axis(**engine[name]) for name in names]
    return tuple(axis.minimum for axis in axes) if all(axis.is_fixed for axis in axes) else None


def _warm_up(workers: Sequence[Worker], found: Sequence[Measured], plan: Plan, reporter: Reporter) -> None:
    """First runs of all engines, then warm-up runs: a size that a network refuses is an error at once."""
    with reporter.progress("warming up", len(workers) * (1 + plan.warmup)) as progress:
        for worker, measured in zip(workers, found, strict=True):
            answer = worker.ask({"shape": measured.shape})
            (measured.first_run_seconds,) = answer["seconds"]
            for warning in answer["warnings"]:
                reporter.warn(f"{measured.candidate.name}: {warning}")
            progress.advance()
        for worker in workers:
            worker.ask({"untimed": plan.warmup, "runs": 0})
            progress.advance(plan.warmup)


def _time(workers: Sequence[Worker], found: Sequence[Measured], plan: Plan, reporter: Reporter) -> None:
    turns = list(zip(workers, found, strict=True))
    with reporter.progress("timing", len(turns) * plan.runs) as progress:
        for number, block in enumerate(plan.blocks):
            for worker, measured in order_of(turns, number):
                time.sleep(PAUSE_SECONDS)
                answer = worker.ask({"untimed": _UNTIMED, "runs": block})
                measured.rounds.append(answer["seconds"])
                measured.memory = {key: answer[key] for key in ("peak_bytes", "cuda_peak_bytes")}
                progress.advance(block)


def order_of(items: Sequence[Item], number: int) -> list[Item]:
    """The order of the items in round ``number``: forwards, backwards, then the same from the next item on.

    In two such rounds every item has the same mean position, and none always follows the same other item.
    """
    first = (number // 2) % len(items)
    order = [*items[first:], *items[:first]]
    return order[::-1] if number % 2 else order

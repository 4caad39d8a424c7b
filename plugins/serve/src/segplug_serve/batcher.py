"""Requests that wait become batches for the one thread that runs the model."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING

from segplug.serving.answers import Answer, refusal

if TYPE_CHECKING:
    from segplug.serving.service import Job
    from segplug_serve.metrics import Metrics

__all__ = ["Batcher", "Writing"]

_log = logging.getLogger("segplug.serve")

Writing = Callable[[], Answer]
"""Puts an answer into its form; for any thread but the model's."""

_Work = Callable[[Sequence["Job"]], list[Writing]]
_Answers = asyncio.Future[list[Writing]]


class Batcher:
    """A batch is what waited while the model was busy, at most ``size`` of it.

    Used on one event loop: :meth:`start`, then :meth:`ask`, then :meth:`stop`.

    Args:
        work: Answers a batch, with a list of the same length. Called in the model's thread, one at a time.
        size: Most requests of a batch.
        delay: Seconds that a batch that is not full waits for more.
        metrics: Where batches are counted.
    """

    def __init__(self, work: _Work, *, size: int, delay: float, metrics: Metrics) -> None:
        self._model = _ModelThread(work)
        self._size, self._delay, self._metrics = size, delay, metrics
        self._waiting: dict[asyncio.Future[Writing], Job] = {}
        self._came = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Requests that are in no batch yet."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether batches are still made and run."""
        return self._model.alive and not self._loop.done()

    @property
    def busy_seconds(self) -> float:
        """How long the model has been at its batch; 0 while it has none."""
        return self._model.busy_seconds

    def start(self) -> None:
        """Start the model's thread."""
        self._model.start()
        self._loop = asyncio.create_task(self._run())

    async def stop(self, seconds: float) -> bool:
        """End the model's thread; whether it ended in time. It is left alone if not: nothing can stop it."""
        self._loop.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop
        return await asyncio.get_running_loop().run_in_executor(None, self._model.stop, seconds)

    async def ask(self, job: Job) -> Writing:
        """Wait for what writes the answer. Who is cancelled waits no more, and its job is forgotten."""
        answer: asyncio.Future[Writing] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = job
        self._came.set()
        try:
            return await answer
        finally:
            self._waiting.pop(answer, None)

    async def _run(self) -> None:
        while True:
            # Each in a call of its own, or the last batch would stay in memory until the next one.
            await self._answer_next()

    async def _answer_next(self) -> None:
        await self._until_batch()
        batch = dict(islice(self._waiting.items(), self._size))
        for future in batch:
            del self._waiting[future]
        if not batch:
            return
        self._metrics.batch_size.observe(len(batch))
        with self._metrics.model_seconds.time():
            answers = await self._model.run(list(batch.values()))
        for future, answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _until_batch(self) -> None:
        """Wait for a request, and then for a whole batch or for ``delay``. All may have left by then."""
        loop = asyncio.get_running_loop()
        while not self._waiting:
            await self._another()
        until = loop.time() + self._delay
        while len(self._waiting) < self._size and (left := until - loop.time()) > 0:
            # A TimeoutError of asyncio's own on Python 3.10.
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._another(), left)

    async def _another(self) -> None:
        self._came.clear()
        await self._came.wait()


class _ModelThread:
    """One thread that may hang in native code: a daemon, so that the process can end without it."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._todo: SimpleQueue[tuple[list[Job], _Answers] | None] = SimpleQueue()
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._serve, name="segplug-model", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def busy_seconds(self) -> float:
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        self._todo.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    async def run(self, jobs: list[Job]) -> list[Writing]:
        answers: _Answers = asyncio.get_running_loop().create_future()
        self._todo.put((jobs, answers))
        return await answers

    def _serve(self) -> None:
        while (item := self._todo.get()) is not None:
            jobs, future = item
            self._busy_since = time.monotonic()
            answers = self._answers(jobs)
            self._busy_since = None
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_settle, future, answers)
            del item, jobs, future, answers  # or they would stay in memory until the next batch

    def _answers(self, jobs: list[Job]) -> list[Writing]:
        try:
            return self._work(jobs)
        except BaseException:  # an engine may raise anything; the thread is for all that follow, too
            _log.exception("the model's thread caught an error")
            return [lambda: refusal(500, "the model failed")] * len(jobs)


def _settle(future: _Answers, answers: list[Writing]) -> None:
    if not future.done():
        future.set_result(answers)

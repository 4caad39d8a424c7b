"""Collects waiting requests into batches for the one thread that runs the model."""

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

__all__ = ["Batcher", "EncodeAnswer"]

_log = logging.getLogger("segplug.serve")

EncodeAnswer = Callable[[], Answer]
"""Encodes one answer. Call it in any thread but the model's, which it would keep from the next batch."""

_RunBatch = Callable[[Sequence["Job"]], list[EncodeAnswer]]
_Results = asyncio.Future[list[EncodeAnswer]]


class Batcher:
    """A batch takes the requests that arrived while the model was busy, at most ``size`` of them.

    For one event loop: :meth:`start`, then any number of :meth:`submit`, then :meth:`stop`.

    Args:
        run_batch: Runs a batch and returns a list of the same length. It is called in the model's thread.
        size: The largest batch.
        delay: Seconds that an incomplete batch waits for more requests.
        metrics: Counts and times the batches.
    """

    def __init__(self, run_batch: _RunBatch, *, size: int, delay: float, metrics: Metrics) -> None:
        self._model = _ModelThread(run_batch)
        self._size, self._delay, self._metrics = size, delay, metrics
        self._waiting: dict[asyncio.Future[EncodeAnswer], Job] = {}
        self._arrived = asyncio.Event()

    @property
    def waiting(self) -> int:
        """The number of requests that are in no batch yet."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether batches are still collected and run."""
        return self._model.alive and not self._loop.done()

    @property
    def busy_seconds(self) -> float:
        """How long the model has been running its current batch; 0 if there is none."""
        return self._model.busy_seconds

    def start(self) -> None:
        """Start the model's thread."""
        self._model.start()
        self._loop = asyncio.create_task(self._run())

    async def stop(self, seconds: float) -> bool:
        """Stop the model's thread; returns whether it ended in time. One that hangs cannot be stopped."""
        self._loop.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop
        return await asyncio.get_running_loop().run_in_executor(None, self._model.stop, seconds)

    async def submit(self, job: Job) -> EncodeAnswer:
        """Wait until a job was run. If this call is cancelled, the job is dropped."""
        answer: asyncio.Future[EncodeAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = job
        self._arrived.set()
        try:
            return await answer
        finally:
            self._waiting.pop(answer, None)

    async def _run(self) -> None:
        while True:
            # In a method, whose variables end with it: else a batch would stay in memory until the next one.
            await self._run_next_batch()

    async def _run_next_batch(self) -> None:
        await self._wait_for_batch()
        batch = dict(islice(self._waiting.items(), self._size))
        for future in batch:
            del self._waiting[future]
        if not batch:
            return
        self._metrics.batch_size.observe(len(batch))
        with self._metrics.model_seconds.time():
            results = await self._model.run(list(batch.values()))
        for future, encode in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(encode)

    async def _wait_for_batch(self) -> None:
        """Wait for a request, then for a full batch or ``delay``. All may be cancelled by then."""
        loop = asyncio.get_running_loop()
        while not self._waiting:
            await self._wait_for_arrival()
        until = loop.time() + self._delay
        while len(self._waiting) < self._size and (left := until - loop.time()) > 0:
            with suppress(asyncio.TimeoutError):  # not the builtin one on Python 3.10
                await asyncio.wait_for(self._wait_for_arrival(), left)

    async def _wait_for_arrival(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()


class _ModelThread:
    """The thread that runs the model. A daemon: the process can end even if it hangs in native code."""

    def __init__(self, run_batch: _RunBatch) -> None:
        self._run_batch = run_batch
        self._queue: SimpleQueue[tuple[list[Job], _Results] | None] = SimpleQueue()
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run_all, name="segplug-model", daemon=True)

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
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    async def run(self, jobs: list[Job]) -> list[EncodeAnswer]:
        results: _Results = asyncio.get_running_loop().create_future()
        self._queue.put((jobs, results))
        return await results

    def _run_all(self) -> None:
        while (item := self._queue.get()) is not None:
            jobs, future = item
            self._busy_since = time.monotonic()
            results = self._run_one(jobs)
            self._busy_since = None
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_set_results, future, results)
            del item, jobs, future, results  # otherwise they stay in memory until the next batch

    def _run_one(self, jobs: list[Job]) -> list[EncodeAnswer]:
        try:
            return self._run_batch(jobs)
        except BaseException:  # an engine may raise anything, and the thread must go on with the next batch
            _log.exception("the model's thread caught an error")
            return [lambda: refusal(500, "the model failed")] * len(jobs)


def _set_results(future: _Results, results: list[EncodeAnswer]) -> None:
    if not future.done():
        future.set_result(results)

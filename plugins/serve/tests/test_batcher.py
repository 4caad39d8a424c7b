"""Batches without a server around them."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable

import pytest
from segplug_serve.batcher import Batcher
from segplug_serve.metrics import Metrics

from segplug.serving.answers import Answer


def _writing(job: object) -> Callable[[], Answer]:
    return lambda: Answer(200, str(job).encode(), "text/plain")


class Work:
    """Answers jobs with themselves; keeps the batches, and stands still while ``open`` is not set."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, jobs):
        self.open.wait(30)
        self.batches.append(list(jobs))
        if "broken" in jobs:
            raise SystemExit("an engine may raise anything")
        return [_writing(job) for job in jobs]


class Forgetful(Work):
    """Keeps nothing."""

    def __call__(self, jobs):
        return [_writing(job) for job in jobs]


def _run(work: Work, scenario, *, size: int = 4, delay: float = 0.0) -> None:
    async def run() -> None:
        batcher = Batcher(work, size=size, delay=delay, metrics=Metrics("m", "b"))
        batcher.start()
        try:
            await asyncio.wait_for(scenario(batcher), 30)
        finally:
            work.open.set()
            assert await batcher.stop(10)
            assert not batcher.alive

    asyncio.run(run())


async def _waiting(batcher: Batcher, count: int) -> None:
    while batcher.waiting != count:
        await asyncio.sleep(0.001)


def test_what_waited_becomes_one_batch_of_at_most_size():
    work = Work()

    async def scenario(batcher):
        work.open.clear()
        first = asyncio.create_task(batcher.ask(0))
        while batcher.busy_seconds == 0:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(batcher.ask(number)) for number in range(1, 7)]
        await _waiting(batcher, 6)
        work.open.set()
        answers = await asyncio.gather(first, *rest)
        assert [write().body for write in answers] == [str(number).encode() for number in range(7)]
        assert batcher.busy_seconds == 0

    _run(work, scenario)
    assert work.batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_who_leaves_is_in_no_batch():
    work = Work()

    async def scenario(batcher):
        work.open.clear()
        first = asyncio.create_task(batcher.ask(0))
        while batcher.busy_seconds == 0:
            await asyncio.sleep(0.001)
        leaves, stays = (asyncio.create_task(batcher.ask(number)) for number in (1, 2))
        await _waiting(batcher, 2)
        leaves.cancel()
        first.cancel()
        work.open.set()
        assert (await stays)().body == b"2"

    _run(work, scenario)
    assert work.batches == [[0], [2]]


class _Job:
    """Something that can be garbage."""


@pytest.mark.parametrize("delay", [0.0, 60.0])
def test_what_nobody_waits_for_any_more_is_forgotten_while_the_model_hangs(delay):
    work = Work()

    async def scenario(batcher):
        work.open.clear()
        if not delay:
            first = asyncio.create_task(batcher.ask(0))
            while batcher.busy_seconds == 0:
                await asyncio.sleep(0.001)
        jobs = [_Job() for _ in range(20)]
        kept = [weakref.ref(job) for job in jobs]
        asked = [asyncio.create_task(batcher.ask(job)) for job in jobs]
        del jobs
        await _waiting(batcher, 20)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        del asked, task
        assert batcher.waiting == 0
        await asyncio.sleep(0.001)  # the loop itself still holds what it has just called
        gc.collect()
        assert [ref() for ref in kept] == [None] * 20
        if not delay:
            work.open.set()
            assert (await first)().body == b"0"

    _run(work, scenario, size=32, delay=delay)


def test_a_batch_is_forgotten_when_it_is_answered():
    async def scenario(batcher):
        job = _Job()
        kept = weakref.ref(job)
        await batcher.ask(job)
        del job
        await asyncio.sleep(0)
        while batcher.busy_seconds:
            await asyncio.sleep(0.001)
        gc.collect()
        assert kept() is None

    _run(Forgetful(), scenario)


def test_a_delay_waits_for_more():
    work = Work()

    async def scenario(batcher):
        async def later(number):
            await asyncio.sleep(0.05 * number)
            return await batcher.ask(number)

        await asyncio.gather(later(0), later(1))
        await batcher.ask(2)  # alone: its batch stays small

    _run(work, scenario, size=2, delay=1)
    assert work.batches == [[0, 1], [2]]


def test_an_error_is_its_own_batchs_and_the_thread_lives_on(caplog):
    work = Work()

    async def scenario(batcher):
        assert (await batcher.ask("broken"))().status == 500
        assert batcher.alive
        assert (await batcher.ask(1))().status == 200

    _run(work, scenario)
    assert "an engine may raise anything" in caplog.text


def test_a_model_that_hangs_cannot_keep_the_caller():
    work = Work()

    async def run() -> bool:
        batcher = Batcher(work, size=1, delay=0, metrics=Metrics("m", "b"))
        batcher.start()
        work.open.clear()
        asked = asyncio.create_task(batcher.ask(0))
        while batcher.busy_seconds == 0:
            await asyncio.sleep(0.001)
        ended = await batcher.stop(0.1)
        asked.cancel()
        return ended

    assert asyncio.run(run()) is False
    work.open.set()


@pytest.mark.parametrize("output", ["mask", "JSON", "<script>", "x" * 10_000])
def test_labels_of_metrics_are_known_words(output):
    metrics = Metrics("m", "b")
    metrics.answered(200, output, 0.1)
    page = metrics.page().decode()
    assert 'output="mask"' in page or 'output="json"' in page or 'output="unknown"' in page
    assert "<script>" not in page
    assert "xxx" not in page

"""The batcher without a server."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import weakref
from collections.abc import Callable

import pytest
from segplug_serve.batcher import Batcher
from segplug_serve.metrics import Metrics

from segplug.serving.answers import Answer


def _encoder(job: object) -> Callable[[], Answer]:
    return lambda: Answer(200, str(job).encode(), "text/plain")


class Model:
    """Answers each job with the job itself; records the batches, and blocks while ``open`` is not set."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, jobs):
        self.open.wait(30)
        self.batches.append(list(jobs))
        if "broken" in jobs:
            raise SystemExit("an engine may raise anything")
        return [_encoder(job) for job in jobs]


class ModelWithoutRecord(Model):
    """Keeps no reference to a job."""

    def __call__(self, jobs):
        return [_encoder(job) for job in jobs]


def _run(model: Model, scenario, *, size: int = 4, delay: float = 0.0) -> None:
    async def run() -> None:
        batcher = Batcher(model, size=size, delay=delay, metrics=Metrics("m", "b"))
        batcher.start()
        try:
            await asyncio.wait_for(scenario(batcher), 30)
        finally:
            model.open.set()
            assert await batcher.stop(10)
            assert not batcher.alive

    asyncio.run(run())


async def _waiting(batcher: Batcher, count: int) -> None:
    while batcher.waiting != count:
        await asyncio.sleep(0.001)


def test_waiting_requests_become_one_batch_of_at_most_size():
    model = Model()

    async def scenario(batcher):
        model.open.clear()
        first = asyncio.create_task(batcher.submit(0))
        while batcher.busy_seconds == 0:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(batcher.submit(number)) for number in range(1, 7)]
        await _waiting(batcher, 6)
        model.open.set()
        answers = await asyncio.gather(first, *rest)
        assert [encode().body for encode in answers] == [str(number).encode() for number in range(7)]
        assert batcher.busy_seconds == 0

    _run(model, scenario)
    assert model.batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_a_cancelled_request_is_in_no_batch():
    model = Model()

    async def scenario(batcher):
        model.open.clear()
        first = asyncio.create_task(batcher.submit(0))
        while batcher.busy_seconds == 0:
            await asyncio.sleep(0.001)
        leaves, stays = (asyncio.create_task(batcher.submit(number)) for number in (1, 2))
        await _waiting(batcher, 2)
        leaves.cancel()
        first.cancel()
        model.open.set()
        assert (await stays)().body == b"2"

    _run(model, scenario)
    assert model.batches == [[0], [2]]


class _Job:
    """Something that can be garbage."""


@pytest.mark.parametrize("delay", [0.0, 60.0])
def test_cancelled_jobs_are_freed_while_the_model_hangs(delay):
    model = Model()

    async def scenario(batcher):
        model.open.clear()
        if not delay:
            first = asyncio.create_task(batcher.submit(0))
            while batcher.busy_seconds == 0:
                await asyncio.sleep(0.001)
        jobs = [_Job() for _ in range(20)]
        kept = [weakref.ref(job) for job in jobs]
        asked = [asyncio.create_task(batcher.submit(job)) for job in jobs]
        del jobs
        await _waiting(batcher, 20)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        del asked, task
        assert batcher.waiting == 0
        await asyncio.sleep(0.001)  # the loop itself still references its last callback
        gc.collect()
        assert [ref() for ref in kept] == [None] * 20
        if not delay:
            model.open.set()
            assert (await first)().body == b"0"

    _run(model, scenario, size=32, delay=delay)


def test_a_batch_is_freed_when_it_is_answered():
    async def scenario(batcher):
        job = _Job()
        kept = weakref.ref(job)
        await batcher.submit(job)
        del job
        await asyncio.sleep(0)
        while batcher.busy_seconds:
            await asyncio.sleep(0.001)
        gc.collect()
        assert kept() is None

    _run(ModelWithoutRecord(), scenario)


def test_a_delay_waits_for_more():
    model = Model()

    async def scenario(batcher):
        async def later(number):
            await asyncio.sleep(0.05 * number)
            return await batcher.submit(number)

        await asyncio.gather(later(0), later(1))
        await batcher.submit(2)  # a batch of one

    _run(model, scenario, size=2, delay=1)
    assert model.batches == [[0, 1], [2]]


def test_an_error_fails_its_batch_and_the_thread_goes_on(caplog):
    model = Model()

    async def scenario(batcher):
        assert (await batcher.submit("broken"))().status == 500
        assert batcher.alive
        assert (await batcher.submit(1))().status == 200

    _run(model, scenario)
    assert "an engine may raise anything" in caplog.text


def test_stopping_does_not_wait_for_a_model_that_hangs():
    model = Model()

    async def run() -> bool:
        batcher = Batcher(model, size=1, delay=0, metrics=Metrics("m", "b"))
        batcher.start()
        model.open.clear()
        asked = asyncio.create_task(batcher.submit(0))
        while batcher.busy_seconds == 0:
            await asyncio.sleep(0.001)
        ended = await batcher.stop(0.1)
        asked.cancel()
        return ended

    assert asyncio.run(run()) is False
    model.open.set()


@pytest.mark.parametrize(
    ("output", "label"),
    [("mask", "mask"), ("JSON", "json"), ("<script>", "unknown"), ("x" * 10_000, "unknown")],
)
def test_labels_of_metrics_are_known_words(output, label):
    metrics = Metrics("m", "b")
    metrics.count_request(200, output, 0.1)
    page = metrics.page().decode()
    assert set(re.findall(r'output="([^"]*)"', page)) == {label}

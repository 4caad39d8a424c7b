"""The memory that requests share: who waits, who is pushed out."""

from __future__ import annotations

import asyncio
import gc

import numpy as np
from segplug_serve.memory import Pool, Shared


def test_who_finds_no_room_waits_in_order():
    async def run() -> None:
        pool = Pool(100)
        await pool.take(60)
        order: list[int] = []

        async def take(count: int) -> None:
            await pool.take(count)
            order.append(count)

        waiting = [asyncio.ensure_future(take(count)) for count in (50, 10, 30)]
        await asyncio.sleep(0)
        assert order == [], "a small one does not pass a large one, which would wait for ever"
        pool.give_back(60)
        await asyncio.gather(*waiting)
        assert order == [50, 10, 30]
        assert pool.taken == 90

    asyncio.run(run())


def test_an_image_larger_than_all_room_gets_it_when_it_is_alone():
    async def run() -> None:
        pool = Pool(100)
        await asyncio.wait_for(pool.take(500), 10)
        waiting = asyncio.ensure_future(pool.take(1))
        await asyncio.sleep(0)
        assert not waiting.done()
        pool.give_back(500)
        await asyncio.wait_for(waiting, 10)

    asyncio.run(run())


def test_who_is_cancelled_takes_nothing():
    async def run() -> None:
        for cancelled_before_room in (True, False):
            pool = Pool(100)
            await pool.take(100)
            waiting = asyncio.ensure_future(pool.take(100))
            await asyncio.sleep(0)
            if cancelled_before_room:
                waiting.cancel()
                pool.give_back(100)
            else:
                pool.give_back(100)
                waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert waiting.cancelled()
            assert pool.taken == 0

    asyncio.run(run())


def test_memory_is_given_back_with_the_last_view_of_an_array():
    async def run() -> None:
        pool = Pool(100)
        await pool.take(90)
        array = np.zeros((4, 4, 3))
        masked = np.ma.MaskedArray(array, np.zeros_like(array, bool))
        pool.give_back_with(array, 90)
        del array
        view = masked[:2]
        del masked
        gc.collect()
        await asyncio.sleep(0)
        assert pool.taken == 90
        del view
        gc.collect()
        await asyncio.sleep(0)
        assert pool.taken == 0

    asyncio.run(run())


def test_the_oldest_is_pushed_out_and_what_the_server_works_on_is_not():
    async def run() -> None:
        shared = Shared(100)
        with shared.holder() as at_work, shared.holder() as old, shared.holder() as newer:
            shared.take(at_work, 40)
            at_work.waits_for_client = False
            shared.take(old, 30)
            shared.take(newer, 30)
            assert not old.pushed_out.done()
            shared.take(newer, 10)
            assert old.pushed_out.done()
            assert shared.taken == 80
            shared.take(old, 5)  # what it still receives is not counted: it gives up
            with shared.holder() as newest:
                shared.take(newest, 90)
                assert newer.pushed_out.done()
                assert newest.pushed_out.done(), "there is no room even without the others"
            assert not at_work.pushed_out.done()
        assert shared.taken == 0

    asyncio.run(run())


def test_one_alone_may_have_more():
    async def run() -> None:
        shared = Shared(100)
        with shared.holder() as alone:
            shared.take(alone, 500)
            assert not alone.pushed_out.done()
        assert shared.taken == 0

    asyncio.run(run())

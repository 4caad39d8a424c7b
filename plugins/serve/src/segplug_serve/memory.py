"""Limits of the memory that all requests of a server share. For one event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Holder", "Pool", "Shared"]


class Pool:
    """Memory of decoded images. Who finds no room waits for it, in the order of arrival.

    Args:
        most: Bytes. An image that needs more gets room when no other is there.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    async def take(self, count: int) -> None:
        """Wait for room. If this call is cancelled, nothing is taken."""
        if self._waiting or not self._has_room(count):
            ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((ready, count))
            try:
                await ready
            except asyncio.CancelledError:
                if ready.done() and not ready.cancelled():
                    self.give_back(count)
                raise
        else:
            self.taken += count

    def add(self, count: int) -> None:
        """Take a little without waiting."""
        self.taken += count

    def give_back(self, count: int) -> None:
        """Give back what was taken."""
        self.taken -= count
        while self._waiting:
            ready, wanted = self._waiting[0]
            if not ready.cancelled():
                if not self._has_room(wanted):
                    return
                self.taken += wanted
                ready.set_result(None)
            self._waiting.popleft()

    def give_back_with(self, array: npt.NDArray[Any], count: int) -> None:
        """Give back when an array, and all that shares its memory, is gone. Any thread may drop it."""
        loop = asyncio.get_running_loop()

        def give_back() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self.give_back, count)

        weakref.finalize(array, give_back).atexit = False

    def _has_room(self, count: int) -> bool:
        return not self.taken or self.taken + count <= self._most


class Holder:
    """Who has some of the memory that slow clients share."""

    def __init__(self) -> None:
        self.bytes = 0
        self.waits_for_client = True
        """Whether it may be pushed out. What the server works on may not."""
        self.pushed_out: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the holder must give up, because others need the room."""


class Shared:
    """Memory that waits for clients: bodies on their way, answers that are not read yet.

    A client that sends or reads slowly must not keep others from it. So if there is no room, the one that has
    been there longest is pushed out.

    Args:
        most: Bytes. One holder alone may have more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0
        self._holders: dict[Holder, None] = {}

    @contextmanager
    def holder(self) -> Iterator[Holder]:
        """A holder that has nothing yet. What it has is given back at the end."""
        holder = Holder()
        self._holders[holder] = None
        try:
            yield holder
        finally:
            self._let_go(holder)

    def take(self, holder: Holder, count: int) -> None:
        """Give a holder more bytes. It is pushed out itself if it finds no room although others left."""
        if holder not in self._holders:
            return  # it was pushed out already
        holder.bytes += count
        self.taken += count
        while self.taken > self._most and self.taken > holder.bytes:
            others = (each for each in self._holders if each.waits_for_client and each.bytes)
            oldest = next((each for each in others if each is not holder), holder)
            self._let_go(oldest)
            if not oldest.pushed_out.done():
                oldest.pushed_out.set_result(None)
            if oldest is holder:
                return

    def _let_go(self, holder: Holder) -> None:
        if holder in self._holders:
            del self._holders[holder]
            self.taken -= holder.bytes

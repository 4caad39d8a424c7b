"""What a connection may cost: a descriptor, and the time that its client takes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["ENDING_SECONDS", "HEAD_SECONDS", "Connection", "Crowd", "most_connections"]

HEAD_SECONDS = 20.0
"""That a connection may take for a request's head, and lie idle."""

ENDING_SECONDS = 5.0
"""That a client has, once the server is told to stop, to send what it began and to read its answer."""

_MOST = 1000
_OTHER_FILES = 64
"""Descriptors for all that is no connection."""

_log = logging.getLogger("segplug.serve")


def most_connections() -> int:
    """Connections that there are descriptors for; asks the system for more of them where it may."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return _MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MOST
    raised = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    return max(soft - _OTHER_FILES, soft // 2)


class Crowd:
    """What the connections of one server have in common.

    Args:
        most: That may be open.
        reading: Seconds in which a client must have read its answer.
    """

    def __init__(self, most: int, reading: float) -> None:
        self.reading = reading
        self._most = most
        self._warned = False

    def make_room(self, connections: set[Any]) -> None:
        """Close what has waited longest for a request, the newcomer itself if all others have one."""
        if len(connections) <= self._most:
            return
        if not self._warned:
            self._warned = True
            _log.warning("more than %d connections: from now on idle ones are closed early", self._most)
        longest = min((each for each in connections if each.is_idle), key=lambda each: each.idle_since)
        connections.discard(longest)
        longest.transport.abort()


class Connection(H11Protocol):
    """Closes what waits for its client too long; uvicorn has a time only for the second head and later ones.

    Closing always is aborting: a transport that is closed keeps what it has not sent, and its descriptor,
    until the client has read it.
    """

    def __init__(self, crowd: Crowd, **given: Any) -> None:
        super().__init__(**given)
        self._crowd = crowd
        self._ending = False
        self._timer: asyncio.TimerHandle | None = None
        self.idle_since = self.loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether it has no request. The end of an answer may still be on its way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_within(HEAD_SECONDS)
        self._crowd.make_room(self.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_within(self._crowd.reading)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._expect_within(HEAD_SECONDS)

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        self._expect_within(HEAD_SECONDS)
        super().on_response_complete()

    def shutdown(self) -> None:
        self._ending = True
        self._expect_within(ENDING_SECONDS)
        super().shutdown()

    def _expect_within(self, seconds: float) -> None:
        self._forget_timer()
        if self._ending:
            seconds = min(seconds, ENDING_SECONDS)
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _give_up(self) -> None:
        # A body that is not whole is the application's to wait for, until the server ends.
        stalled = self._ending and not self.is_idle and self.cycle.more_body
        if self.is_idle or self.flow.write_paused or stalled:
            self.transport.abort()

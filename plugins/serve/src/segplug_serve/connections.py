"""Limits of connections: how many may be open, and how long each may wait for its client."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEADER_SECONDS", "SHUTDOWN_SECONDS", "Connection", "ConnectionLimit", "max_connections"]

HEADER_SECONDS = 20.0
"""How long a connection may take to send a request's header, and how long it may be idle."""

SHUTDOWN_SECONDS = 5.0
"""How long a client may take, after the server was told to stop, to finish its request or read its answer."""

_MAX_CONNECTIONS = 1000
_OTHER_FILES = 64
"""File descriptors for everything but connections."""

_log = logging.getLogger("segplug.serve")


def max_connections() -> int:
    """How many connections the limit of file descriptors allows. The limit is raised first, if possible."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MAX_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_CONNECTIONS + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MAX_CONNECTIONS
    raised = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    return max(soft - _OTHER_FILES, soft // 2)


class ConnectionLimit:
    """The limits that all connections of one server share.

    Args:
        most: The largest number of open connections.
        read_seconds: How long a client may take to read an answer.
    """

    def __init__(self, most: int, read_seconds: float) -> None:
        self.read_seconds = read_seconds
        self._most = most
        self._warned = False

    def close_surplus(self, connections: set[Any]) -> None:
        """Close one connection if there are too many: the one that has been idle longest.

        If all others have a request, that is the new connection itself.
        """
        if len(connections) <= self._most:
            return
        if not self._warned:
            self._warned = True
            _log.warning("more than %d connections: from now on idle ones are closed early", self._most)
        longest_idle = min((each for each in connections if each.is_idle), key=lambda each: each.idle_since)
        connections.discard(longest_idle)
        longest_idle.transport.abort()


class Connection(H11Protocol):
    """A connection that is closed if its client is too slow. uvicorn limits the time of later requests only.

    Connections are aborted, not closed: a closed transport keeps its unsent data and its file descriptor
    until the client has read the data.
    """

    def __init__(self, limit: ConnectionLimit, **given: Any) -> None:
        super().__init__(**given)
        self._limit = limit
        self._shutting_down = False
        self._timer: asyncio.TimerHandle | None = None
        self.idle_since = self.loop.time()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being handled. The end of an answer may still be unsent."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._restart_timer(HEADER_SECONDS)
        self._limit.close_surplus(self.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._restart_timer(self._limit.read_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._restart_timer(HEADER_SECONDS)

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        self._restart_timer(HEADER_SECONDS)
        super().on_response_complete()

    def shutdown(self) -> None:
        self._shutting_down = True
        self._restart_timer(SHUTDOWN_SECONDS)
        super().shutdown()

    def _restart_timer(self, seconds: float) -> None:
        self._cancel_timer()
        if self._shutting_down:
            seconds = min(seconds, SHUTDOWN_SECONDS)
        self._timer = self.loop.call_later(seconds, self._abort_if_stalled)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _abort_if_stalled(self) -> None:
        # The application has its own time limit for an incomplete body. At shutdown this timer replaces it.
        stalled = self._shutting_down and not self.is_idle and self.cycle.more_body
        if self.is_idle or self.flow.write_paused or stalled:
            self.transport.abort()

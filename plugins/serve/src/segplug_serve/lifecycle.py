"""Binds the socket, runs the server until a signal arrives, and shuts it down in order."""

from __future__ import annotations

import asyncio
import errno
import faulthandler
import math
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from segplug.errors import UsageError
from segplug_serve.connections import (
    HEADER_SECONDS,
    SHUTDOWN_SECONDS,
    Connection,
    ConnectionLimit,
    max_connections,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from segplug_serve.batcher import Batcher
    from segplug_serve.readers import Readers

__all__ = ["Workers", "address_of", "bind", "ended", "run"]

_MAX_HEADER = 16 << 10
"""Bytes of a request's header."""

_BACKLOG = 1024
"""Connections that the system queues until the server accepts them."""

_MODEL_SHUTDOWN_SECONDS = 3.0
"""How long the model's thread may take to end when no request is left."""

_SPARE_SECONDS = 2.0
"""After all these times the process ends, whatever still runs."""


@dataclass(frozen=True)
class Workers:
    """What works for the application while it runs."""

    readers: Readers
    batcher: Batcher


def bind(host: str, port: int) -> socket.socket:
    """Bind a socket to an address. Clients cannot connect before the server listens.

    Raises:
        UsageError: the address is in use, or is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(
            f"--host {host} is not an address of this machine: {error.strerror or error}"
        ) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        in_use = error.errno == errno.EADDRINUSE
        raise UsageError(
            f"the server cannot listen on port {port} of {host}: {error.strerror or error}",
            hint="choose another with --port; 0 takes any free port" if in_use else None,
        ) from error
    return sock


def address_of(sock: socket.socket) -> str:
    """The URL of the server on a socket, for a client on this machine."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def run(
    app: ASGIApp, workers: Workers, sock: socket.socket, *, timeout: float, ready: Callable[[], None]
) -> bool:
    """Serve until SIGTERM or Ctrl-C; a second signal ends the process at once.

    At shutdown, new connections are refused and accepted requests answered. Slow clients get five seconds.
    If the process has not ended ``timeout`` and ten seconds after the signal, it is ended with exit code 1,
    whatever it does: a library may hang. The caller calls :func:`ended` when it is done in time.

    Args:
        app: The application.
        workers: They are started and stopped here.
        sock: The socket that :func:`bind` returned; it is closed here.
        timeout: Seconds that a request may take; its client may take as long again to read the answer.
        ready: Called when the server listens.

    Returns:
        Whether the model's thread has ended. If not, it still uses the engine, which must not be closed.

    Raises:
        EngineError: a reader process cannot be started.
    """
    http: Any = partial(Connection, ConnectionLimit(max_connections(), read_seconds=timeout))
    config = uvicorn.Config(
        app,
        http=http,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=1,  # see _Server.startup
        timeout_keep_alive=math.ceil(HEADER_SECONDS),
        timeout_graceful_shutdown=math.ceil(timeout + SHUTDOWN_SECONDS),
        h11_max_incomplete_event_size=_MAX_HEADER,
    )
    most = timeout + SHUTDOWN_SECONDS + _MODEL_SHUTDOWN_SECONDS + _SPARE_SECONDS
    return asyncio.run(_run(_Server(config, ready, most), workers, sock))


def ended() -> None:
    """Say that the server has ended in time."""
    faulthandler.cancel_dump_traceback_later()


async def _run(server: uvicorn.Server, workers: Workers, sock: socket.socket) -> bool:
    await workers.readers.start()
    try:
        workers.batcher.start()
        await server.serve(sockets=[sock])
        return await workers.batcher.stop(_MODEL_SHUTDOWN_SECONDS)
    finally:
        await workers.readers.stop()


class _Server(uvicorn.Server):
    """Calls ``ready`` when it listens, and does not raise the signal again at its end, as uvicorn would.

    After a signal the process has ``most_seconds`` to end.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], most_seconds: float) -> None:
        super().__init__(config)
        self._ready, self._most_seconds = ready, most_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # asyncio accepts as many connections at once as its backlog says, before a surplus one can be closed.
        # With more than 1, file descriptors could run out. The system's backlog may be larger.
        for sock in sockets or []:
            sock.listen(_BACKLOG)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
        # Of all timers this one needs no Python code to run: a library that hangs may keep Python from it.
        faulthandler.dump_traceback_later(self._most_seconds, exit=True, file=2)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

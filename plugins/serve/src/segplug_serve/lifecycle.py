"""Binds the socket, runs the server until a signal arrives, and shuts it down in order."""

from __future__ import annotations

import asyncio
import errno
import math
import signal
import socket
from collections.abc import Callable
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

__all__ = ["address_of", "bind", "run"]

_MAX_HEADER = 16 << 10
"""Bytes of a request's header."""

_BACKLOG = 1024
"""Connections that the system queues until the server accepts them."""

_MODEL_SHUTDOWN_SECONDS = 3.0
"""How long the model's thread may take to end when no request is left."""


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
    app: ASGIApp, batcher: Batcher, sock: socket.socket, *, timeout: float, ready: Callable[[], None]
) -> bool:
    """Serve until SIGTERM or Ctrl-C; a second signal ends the process at once.

    At shutdown, new connections are refused and accepted requests answered. Slow clients get five seconds.

    Args:
        app: The application.
        batcher: It is started and stopped here.
        sock: The socket that :func:`bind` returned; it is closed here.
        timeout: Seconds that a request may take; its client may take as long again to read the answer.
        ready: Called when the server listens.

    Returns:
        Whether the model's thread has ended. If not, it still uses the engine, which must not be closed.
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
    return asyncio.run(_run(_Server(config, ready), batcher, sock))


async def _run(server: uvicorn.Server, batcher: Batcher, sock: socket.socket) -> bool:
    batcher.start()
    await server.serve(sockets=[sock])
    return await batcher.stop(_MODEL_SHUTDOWN_SECONDS)


class _Server(uvicorn.Server):
    """Calls ``ready`` when it listens, and does not raise the signal again at its end, as uvicorn would."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # asyncio accepts as many connections at once as its backlog says, before a surplus one can be closed.
        # With more than 1, file descriptors could run out. The system's backlog may be larger.
        for sock in sockets or []:
            sock.listen(_BACKLOG)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

"""A listening socket and an event loop until a signal comes, and an orderly end."""

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
from segplug_serve.connections import ENDING_SECONDS, HEAD_SECONDS, Connection, Crowd, most_connections

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from segplug_serve.batcher import Batcher

__all__ = ["address_of", "bind", "run"]

_LARGEST_HEAD = 16 << 10
"""Bytes of a request's head."""

_BACKLOG = 1024
"""Connections that the system keeps until the server takes them."""

_MODEL_ENDING = 3.0
"""Seconds that the model's thread has to end when no request is left."""


def bind(host: str, port: int) -> socket.socket:
    """Take an address. Nobody can connect before the server listens.

    Raises:
        UsageError: it is taken, or none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"--host {host} is no address of this machine: {error.strerror or error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        taken = error.errno == errno.EADDRINUSE
        raise UsageError(
            f"port {port} of {host} cannot be taken: {error.strerror or error}",
            hint="another one with --port; 0 takes any free one" if taken else None,
        ) from error
    return sock


def address_of(sock: socket.socket) -> str:
    """The address of what listens on a socket, for a client on this machine."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def run(
    app: ASGIApp, batcher: Batcher, sock: socket.socket, *, timeout: float, ready: Callable[[], None]
) -> bool:
    """Serve until SIGTERM or Ctrl-C; a second one ends the process at once.

    Requests under way are answered, new connections refused. Clients that are slow have five seconds then.

    Args:
        app: What answers.
        batcher: Started and stopped here.
        sock: What :func:`bind` returned; closed here.
        timeout: Seconds that a request may take, and as many to read its answer.
        ready: Called when the server listens.

    Returns:
        Whether the model's thread has ended. If not, the engine is in use and must not be closed.
    """
    http: Any = partial(Connection, Crowd(most_connections(), reading=timeout))
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
        timeout_keep_alive=math.ceil(HEAD_SECONDS),
        timeout_graceful_shutdown=math.ceil(timeout + ENDING_SECONDS),
        h11_max_incomplete_event_size=_LARGEST_HEAD,
    )
    return asyncio.run(_run(_Server(config, ready), batcher, sock))


async def _run(server: uvicorn.Server, batcher: Batcher, sock: socket.socket) -> bool:
    batcher.start()
    await server.serve(sockets=[sock])
    return await batcher.stop(_MODEL_ENDING)


class _Server(uvicorn.Server):
    """Says when it listens, and ends well: uvicorn's own raises the signal again when all is done."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # asyncio takes as many connections at once as its backlog says, before one that is too many can be
        # closed: one, or descriptors run out. The system may well keep more.
        for sock in sockets or []:
            sock.listen(_BACKLOG)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)

"""What every request passes on its way in and out: the count, the token, and what is left of its body."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import Response

from segplug.serving.answers import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from segplug_serve.metrics import Metrics

__all__ = ["Counting", "Placed", "Reading", "Token", "asked_output", "refused"]

_OPEN = ("/health", "/ready")
"""What probes ask, which carry no token."""

_DROPPING = 2.0
"""Seconds for which a body that nobody wants is read on."""


def refused(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """Why there is no other answer, as every server of segplug says it."""
    answer = refusal(status, reason)
    return Response(answer.body, status, headers, media_type=answer.content_type)


def asked_output(scope: Scope) -> str:
    """The ``output`` that a request names, in its query or a header, unchecked; empty: none."""
    return QueryParams(scope["query_string"]).get("output", Headers(scope=scope).get("x-segplug-output", ""))


class Counting:
    """Counts requests for predictions, whatever becomes of them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith("/predictions/"):
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                output = asked_output(scope) or "mask"
                self._metrics.answered(message["status"], output, time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, counted)


class Reading:
    """Reads what nobody has read of a body before its answer goes out, for a short time.

    Many clients read no answer before they have sent all, and would see a broken pipe. One that asked first
    (``Expect: 100-continue``) has sent nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        asks_first = headers.get("expect", "").lower() == "100-continue"
        ended = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"

        async def reading() -> Message:
            nonlocal ended, asks_first
            asks_first = False
            message = await receive()
            ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def drop() -> None:
            while not ended:
                await reading()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and not ended:
                if not asks_first:
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(drop(), _DROPPING)
                if not ended:
                    MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, reading, sending)


class Placed:
    """Gives a request a place until its client has read the answer, all but the last 64 KiB of it.

    The server takes the whole of an answer at once, and would keep any number that nobody reads.

    Args:
        app: What is behind it.
        place: Entered for each request; may refuse it.
    """

    def __init__(self, app: ASGIApp, place: Callable[[], AbstractContextManager[None]]) -> None:
        self._app, self._place = app, place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def until_read(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({**message, "more_body": True})
                message = {"type": "http.response.body"}  # waits for room, which the one before has taken
            await send(message)

        with self._place():
            await self._app(scope, receive, until_read)


class Token:
    """Lets those in who know the token, and probes.

    Args:
        app: What is behind it.
        token: As clients send it: ``Authorization: Bearer TOKEN``.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("authorization", "").encode("latin-1")
        if scope["path"] in _OPEN or hmac.compare_digest(given, self._wanted):
            await self._app(scope, receive, send)
            return
        response = refused(401, "this server wants a token", {"WWW-Authenticate": "Bearer"})
        await response(scope, receive, send)

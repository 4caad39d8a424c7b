"""The ASGI middleware: request metrics, token check, draining of request bodies."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import Response

from segplug.serving.answers import refusal
from segplug.serving.requests import CONTROLS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from segplug_serve.metrics import Metrics

__all__ = [
    "DrainRequestBody",
    "RequestMetrics",
    "RequireToken",
    "controls",
    "refusal_response",
]

_PROBES = frozenset({"/health", "/ready"})
"""The addresses that health probes ask: probes send no token."""

_DRAIN_SECONDS = 2.0
"""For how long the rest of an unwanted body is read."""


def refusal_response(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """A refusal in the form that all servers of segplug use."""
    answer = refusal(status, reason)
    return Response(answer.body, status, headers, media_type=answer.content_type)


def controls(scope: Scope) -> dict[str, str]:
    """The parameters in the query or in headers of a request, unchecked; empty: there is none."""
    query, headers = QueryParams(scope["query_string"]), Headers(scope=scope)
    return {name: query.get(name, headers.get(header, "")) for name, header in CONTROLS.items()}


class RequestMetrics:
    """Counts and times all requests for predictions, refused ones included."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith("/predictions/"):
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                output = controls(scope)["output"] or "mask"
                self._metrics.count_request(message["status"], output, time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, send_and_count)


class DrainRequestBody:
    """Reads the unread rest of a request's body before the answer is sent, for a short time.

    Many clients read no answer before they have sent the whole body, and would report a broken pipe. A client
    that sends ``Expect: 100-continue`` has not sent its body yet: there is nothing to drain.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        waits_for_continue = headers.get("expect", "").lower() == "100-continue"
        complete = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"

        async def receive_and_note() -> Message:
            nonlocal complete, waits_for_continue
            waits_for_continue = False
            message = await receive()
            complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
            return message

        async def drain() -> None:
            while not complete:
                await receive_and_note()

        async def drain_and_send(message: Message) -> None:
            if message["type"] == "http.response.start" and not complete:
                if not waits_for_continue:
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(drain(), _DRAIN_SECONDS)
                if not complete:
                    MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self._app(scope, receive_and_note, drain_and_send)


class RequireToken:
    """Refuses requests without the token, except those of health probes.

    Args:
        app: The application that is protected.
        token: Clients send it as ``Authorization: Bearer TOKEN``.
        public: Other addresses that need no token.
    """

    def __init__(self, app: ASGIApp, token: str, public: Collection[str] = ()) -> None:
        self._app = app
        self._public = _PROBES.union(public)
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("authorization", "").encode("latin-1")
        if scope["path"] in self._public or hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
            return
        response = refusal_response(401, "this server requires a token", {"WWW-Authenticate": "Bearer"})
        await response(scope, receive, send)

"""The routes: predictions of one model, and what operators ask of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from segplug.serving.answers import Answer, refusal
from segplug.serving.requests import Limits
from segplug.serving.requests import Request as Asked
from segplug_serve.body import body_of
from segplug_serve.door import Counting, Placed, Reading, Token, asked_output, refused

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from segplug.serving.service import Service
    from segplug_serve.batcher import Batcher
    from segplug_serve.metrics import Metrics

__all__ = ["Rules", "Server"]

_METHODS = ("GET", "POST", "PUT")
"""PUT is what ``curl -T`` sends."""

_READERS = 2
"""Threads that decode images and write answers while the model runs."""


@dataclass(frozen=True)
class Rules:
    """What clients may ask of a server."""

    name: str
    """The model's, in addresses."""
    limits: Limits
    most_requests: int
    """That are in the server at once; more are answered 503."""
    timeout: float
    """Seconds from a request's head to its answer, the sending of its body included."""
    token: str | None = None


class Server:
    """Serves one model.

    Args:
        service: Reads requests and answers them.
        batcher: Runs the service's batches; started and stopped by the caller.
        decoded: Images that are in memory decoded, waiting or in a batch.
        rules: What clients may ask.
        metrics: Where requests are counted.
    """

    def __init__(
        self, service: Service, batcher: Batcher, *, decoded: int, rules: Rules, metrics: Metrics
    ) -> None:
        self._service, self._batcher, self._rules, self._metrics = service, batcher, rules, metrics
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="segplug-read")
        self._room = asyncio.Semaphore(decoded + _READERS)
        self._inside = 0
        metrics.gauge(
            "segplug_requests_in_flight",
            "Requests in the server, unread answers included.",
            lambda: self._inside,
        )
        metrics.gauge("segplug_requests_waiting", "Decoded requests that are in no batch yet.", self._waiting)
        metrics.gauge("segplug_ready", "1 if /ready says so.", lambda: float(not self._trouble()))

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = Starlette(
            routes=[
                Route(
                    f"/predictions/{self._rules.name}",
                    self._predict,
                    methods=_METHODS,
                    middleware=[Middleware(Placed, place=self._place)],
                ),
                Route("/models", self._models),
                Route("/health", self._health),
                Route("/ready", self._ready),
                Route("/metrics", self._show_metrics),
            ],
            exception_handlers={HTTPException: _refused, Exception: _broken},
        )
        routes.router.redirect_slashes = False
        token = self._rules.token
        return Counting(Reading(routes if token is None else Token(routes, token)), self._metrics)

    async def _predict(self, request: Request) -> Response:
        rules, loop = self._rules, asyncio.get_running_loop()
        deadline = loop.time() + rules.timeout
        body, kind = await body_of(request, rules.limits, deadline)
        opacity = request.query_params.get("opacity", request.headers.get("x-segplug-opacity", ""))
        asked = Asked(body, kind, asked_output(request.scope), opacity)
        answer = await self._answer(asked, request, deadline)
        return Response(answer.body, answer.status, dict(answer.headers), media_type=answer.content_type)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._inside >= self._rules.most_requests:
            raise HTTPException(503, "too many requests wait; try again", {"Retry-After": "1"})
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def _answer(self, asked: Asked, request: Request, deadline: float) -> Answer:
        """The answer, unless its time is up or its sender has left."""
        work = asyncio.create_task(self._work(asked))
        # After its body, all that comes of a request is that its sender left.
        left = asyncio.ensure_future(request.receive())
        try:
            remaining = deadline - asyncio.get_running_loop().time()
            await asyncio.wait({work, left}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if left.done():
                return refusal(499, "the client left")
            return refusal(504, f"there was no answer within {self._rules.timeout:g} s")
        finally:
            work.cancel()
            left.cancel()

    async def _work(self, asked: Asked) -> Answer:
        async with self._room:
            loop = asyncio.get_running_loop()
            job = await loop.run_in_executor(self._readers, self._service.read, asked)
            if isinstance(job, Answer):
                return job
            write = await self._batcher.ask(job)
            return await loop.run_in_executor(self._readers, write)

    async def _models(self, request: Request) -> Response:
        path = f"/predictions/{self._rules.name}"
        model = {"name": self._rules.name, "predictions": path, "meta": f"{path}?output=meta"}
        return JSONResponse({"models": [model]})

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        trouble = self._trouble()
        return refused(503, trouble) if trouble else JSONResponse({"status": "ready"})

    async def _show_metrics(self, request: Request) -> Response:
        return Response(self._metrics.page(), headers={"Content-Type": self._metrics.content_type})

    def _trouble(self) -> str:
        """Why no request will be answered any more; empty: they will."""
        if not self._batcher.alive:
            return "the model's thread has ended"
        if self._batcher.busy_seconds > self._rules.timeout:
            return f"the model has been at one batch for more than {self._rules.timeout:g} s"
        return ""

    def _waiting(self) -> float:
        return self._batcher.waiting


async def _refused(request: Request, error: Any) -> Response:
    reason = error.detail
    if error.status_code == 404:
        reason = f"there is nothing at {request.url.path[:100]}; /models says what is"
    return refused(error.status_code, reason, error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    return refused(500, "the server failed; its log says why")

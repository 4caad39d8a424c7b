"""The ASGI application: predictions of one model, health, metrics."""

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
from segplug.serving.requests import Request as PredictionRequest
from segplug_serve.middleware import (
    ConcurrencyLimit,
    DrainRequestBody,
    RequestMetrics,
    RequireToken,
    controls,
    refusal_response,
)
from segplug_serve.request_body import read_body

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from segplug.serving.service import Service
    from segplug_serve.batcher import Batcher
    from segplug_serve.metrics import Metrics

__all__ = ["Server", "ServerSettings"]

_METHODS = ("GET", "POST", "PUT")
"""``curl -T`` sends PUT."""

_CODEC_THREADS = 2
"""Threads that decode images and encode answers while the model runs."""


@dataclass(frozen=True)
class ServerSettings:
    """The name of the model, and what clients may do."""

    name: str
    """The name of the model in URLs."""
    limits: Limits
    max_requests: int
    """The largest number of requests in the server at once; more are refused with status 503."""
    timeout: float
    """Seconds from a request's header to its answer; the time to send its body is included."""
    token: str | None = None


class Server:
    """Serves one model.

    Args:
        service: Decodes requests, segments their images and encodes the answers.
        batcher: Runs the service's batches; the caller starts and stops it.
        max_decoded: The largest number of decoded images in memory, waiting or in a batch.
        settings: The model's name, and what clients may do.
        metrics: Counts the requests.
    """

    def __init__(
        self,
        service: Service,
        batcher: Batcher,
        *,
        max_decoded: int,
        settings: ServerSettings,
        metrics: Metrics,
    ) -> None:
        self._service, self._batcher, self._settings, self._metrics = service, batcher, settings, metrics
        self._codec_threads = ThreadPoolExecutor(_CODEC_THREADS, thread_name_prefix="segplug-codec")
        self._decoded_images = asyncio.Semaphore(max_decoded + _CODEC_THREADS)
        self._in_flight = 0
        metrics.gauge(
            "segplug_requests_in_flight",
            "Requests in the server, including those whose answer the client has not read yet.",
            lambda: self._in_flight,
        )
        metrics.gauge(
            "segplug_requests_waiting",
            "Decoded requests that wait for a batch.",
            lambda: self._batcher.waiting,
        )
        metrics.gauge("segplug_ready", "1 if /ready answers 200, else 0.", lambda: float(not self._failure()))

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = Starlette(
            routes=[
                Route(
                    f"/predictions/{self._settings.name}",
                    self._predict,
                    methods=_METHODS,
                    middleware=[Middleware(ConcurrencyLimit, enter=self._enter)],
                ),
                Route("/models", self._models),
                Route("/health", self._health),
                Route("/ready", self._ready),
                Route("/metrics", self._show_metrics),
            ],
            exception_handlers={HTTPException: _http_error, Exception: _internal_error},
        )
        routes.router.redirect_slashes = False
        token = self._settings.token
        protected = routes if token is None else RequireToken(routes, token)
        return RequestMetrics(DrainRequestBody(protected), self._metrics)

    async def _predict(self, request: Request) -> Response:
        deadline = asyncio.get_running_loop().time() + self._settings.timeout
        body, content_type = await read_body(request, self._settings.limits, deadline)
        prediction = PredictionRequest(body, content_type, **controls(request.scope))
        answer = await self._answer_in_time(prediction, request, deadline)
        return Response(answer.body, answer.status, dict(answer.headers), media_type=answer.content_type)

    @contextmanager
    def _enter(self) -> Iterator[None]:
        """Count a request as in flight, or refuse it."""
        if self._in_flight >= self._settings.max_requests:
            raise HTTPException(503, "too many requests wait; try again", {"Retry-After": "1"})
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    async def _answer_in_time(
        self, prediction: PredictionRequest, request: Request, deadline: float
    ) -> Answer:
        """The answer; or a refusal if the deadline passes or the client disconnects first."""
        work = asyncio.create_task(self._answer(prediction))
        # The body has been read: the next message can only be a disconnect.
        disconnect = asyncio.ensure_future(request.receive())
        try:
            remaining = deadline - asyncio.get_running_loop().time()
            await asyncio.wait({work, disconnect}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if disconnect.done():
                return refusal(499, "the client disconnected")
            return refusal(504, f"there was no answer within {self._settings.timeout:g} s")
        finally:
            work.cancel()
            disconnect.cancel()

    async def _answer(self, prediction: PredictionRequest) -> Answer:
        async with self._decoded_images:
            loop = asyncio.get_running_loop()
            job = await loop.run_in_executor(self._codec_threads, self._service.read, prediction)
            if isinstance(job, Answer):
                return job
            encode = await self._batcher.submit(job)
            return await loop.run_in_executor(self._codec_threads, encode)

    async def _models(self, request: Request) -> Response:
        path = f"/predictions/{self._settings.name}"
        model = {"name": self._settings.name, "predictions": path, "meta": f"{path}?output=meta"}
        return JSONResponse({"models": [model]})

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        failure = self._failure()
        return refusal_response(503, failure) if failure else JSONResponse({"status": "ready"})

    async def _show_metrics(self, request: Request) -> Response:
        return Response(self._metrics.page(), headers={"Content-Type": self._metrics.content_type})

    def _failure(self) -> str:
        """Why the server cannot answer requests any more; empty: it can."""
        if not self._batcher.alive:
            return "the model's thread has ended"
        if self._batcher.busy_seconds > self._settings.timeout:
            return f"the model has run one batch for more than {self._settings.timeout:g} s"
        return ""


async def _http_error(request: Request, error: Any) -> Response:
    reason = error.detail
    if error.status_code == 404:
        reason = f"there is nothing at {request.url.path[:100]}; /models lists the model's addresses"
    return refusal_response(error.status_code, reason, error.headers)


async def _internal_error(request: Request, error: Exception) -> Response:
    return refusal_response(500, "the server failed; its log has the reason")

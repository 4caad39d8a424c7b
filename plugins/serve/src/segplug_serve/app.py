"""The ASGI application: predictions of one model, health, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from segplug.serving.answers import Answer, refusal
from segplug.serving.requests import Limits
from segplug.serving.requests import Request as PredictionRequest
from segplug_serve.memory import Pool, Shared
from segplug_serve.middleware import (
    DrainRequestBody,
    RequestMetrics,
    RequireToken,
    controls,
    refusal_response,
)
from segplug_serve.request_body import TRY_AGAIN, memory_of_bodies, read_body
from segplug_serve.sending import PredictionResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from segplug.serving.service import Job, Service, Wanted
    from segplug_serve.batcher import Batcher
    from segplug_serve.metrics import Metrics
    from segplug_serve.page import Page
    from segplug_serve.readers import Readers

T = TypeVar("T")

__all__ = ["Server", "ServerSettings"]

_METHODS = ("GET", "POST", "PUT")
"""``curl -T`` sends PUT."""

_ENCODERS = 2
"""Threads that encode answers while the model runs."""


@dataclass(frozen=True)
class ServerSettings:
    """The name of the model, and what clients may do."""

    name: str
    """The name of the model in URLs."""
    limits: Limits
    max_requests: int
    """The most requests with a whole body in the server at once; more are refused with status 503."""
    timeout: float
    """Seconds from a request's header to its answer; the time to send its body is included."""
    token: str | None = None


class Server:
    """Serves one model.

    Args:
        service: Checks requests, segments their images and encodes the answers.
        readers: Decode the images; the caller starts and stops them.
        batcher: Runs the service's batches; the caller starts and stops it.
        images: The memory of decoded images.
        settings: The model's name, and what clients may do.
        metrics: Counts the requests.
        page: What browsers show; ``None``: nothing.
    """

    def __init__(
        self,
        service: Service,
        readers: Readers,
        batcher: Batcher,
        *,
        images: Pool,
        settings: ServerSettings,
        metrics: Metrics,
        page: Page | None = None,
    ) -> None:
        self._page = page
        self._service, self._readers, self._batcher = service, readers, batcher
        self._settings, self._metrics = settings, metrics
        self._bodies = Shared(memory_of_bodies(settings.limits))
        self._unread = Shared(settings.limits.decoded)
        self._encoders = ThreadPoolExecutor(_ENCODERS, thread_name_prefix="segplug-encoder")
        self._in_flight = self._arriving = 0
        for name, about, read in (
            (
                "segplug_requests_in_flight",
                "Requests in the server, including those whose answer the client has not read yet.",
                lambda: self._in_flight,
            ),
            ("segplug_requests_arriving", "Requests whose body is on its way.", lambda: self._arriving),
            ("segplug_requests_reading", "Requests that wait for a reader.", lambda: readers.waiting),
            (
                "segplug_requests_waiting",
                "Decoded requests that wait for a batch.",
                lambda: batcher.waiting,
            ),
            ("segplug_readers", "Reader processes.", lambda: readers.running),
            ("segplug_readers_busy", "Reader processes that decode an image.", lambda: readers.busy),
            ("segplug_body_bytes", "Bytes of requests that are not decoded yet.", lambda: self._bodies.taken),
            ("segplug_image_bytes", "Bytes of decoded images and their labels.", lambda: images.taken),
            ("segplug_answer_bytes", "Bytes of answers that are not sent yet.", lambda: self._unread.taken),
            ("segplug_ready", "1 if /ready answers 200, else 0.", lambda: float(not self._failure())),
        ):
            metrics.gauge(name, about, read)

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = Starlette(
            routes=[
                Route(f"/predictions/{self._settings.name}", self._predict, methods=_METHODS),
                Route("/models", self._models),
                Route("/health", self._health),
                Route("/ready", self._ready),
                Route("/metrics", self._show_metrics),
                *(self._page.routes(self._respond) if self._page else ()),
            ],
            exception_handlers={HTTPException: _http_error, Exception: _internal_error},
        )
        routes.router.redirect_slashes = False
        token = self._settings.token
        public = self._page.public_paths if self._page else ()
        protected = routes if token is None else RequireToken(routes, token, public)
        return RequestMetrics(DrainRequestBody(protected), self._metrics)

    def _respond(self, answer: Answer) -> Response:
        return PredictionResponse(answer, self._unread, ExitStack())

    async def _predict(self, request: Request) -> Response:
        deadline = asyncio.get_running_loop().time() + self._settings.timeout
        wanted = self._service.check(PredictionRequest(None, **controls(request.scope)))
        if isinstance(wanted, Answer):
            return self._respond(wanted)
        with ExitStack() as held:
            job = await self._read(request, wanted, deadline, held)
            answer = (
                job if isinstance(job, Answer) else await self._in_time(self._answer(job), request, deadline)
            )
            return PredictionResponse(answer, self._unread, held.pop_all())

    async def _read(self, request: Request, wanted: Wanted, deadline: float, held: ExitStack) -> Job | Answer:
        """Receive the body, take a place in the server, and decode the image."""
        loop = asyncio.get_running_loop()
        with self._bodies.holder() as memory:
            with self._counted_as_arriving():
                body = await read_body(request, self._settings.limits, deadline, self._bodies, memory)
            held.enter_context(self._place())
            start = loop.time()
            content_type = request.headers.get("content-type", "")
            image = await self._in_time(self._readers.read(body, content_type), request, deadline)
        if isinstance(image, Answer):
            return image
        return self._service.job(wanted, image, loop.time() - start)

    async def _answer(self, job: Job) -> Answer:
        encode = await self._batcher.submit(job)
        return await asyncio.get_running_loop().run_in_executor(self._encoders, encode)

    async def _in_time(self, work: Awaitable[T], request: Request, deadline: float) -> T | Answer:
        """The result; or a refusal if the deadline passes or the client disconnects, which ends the work."""
        task = asyncio.ensure_future(work)
        # The body has been read: the next message can only be a disconnect.
        disconnect = asyncio.ensure_future(request.receive())
        try:
            remaining = deadline - asyncio.get_running_loop().time()
            await asyncio.wait({task, disconnect}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if disconnect.done():
                return refusal(499, "the client disconnected")
            return refusal(504, f"there was no answer within {self._settings.timeout:g} s")
        finally:
            task.cancel()
            disconnect.cancel()

    @contextmanager
    def _counted_as_arriving(self) -> Iterator[None]:
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Count a request as in flight, or refuse it."""
        if self._in_flight >= self._settings.max_requests:
            raise HTTPException(503, "too many requests wait; try again", TRY_AGAIN)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

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
        if self._readers.failure and not self._readers.running:
            return self._readers.failure
        if self._readers.blocked_seconds > self._settings.timeout:
            return f"no reader has decoded an image for more than {self._settings.timeout:g} s"
        return ""


async def _http_error(request: Request, error: Any) -> Response:
    reason = error.detail
    if error.status_code == 404:
        reason = f"there is nothing at {request.url.path[:100]}; /models lists the model's addresses"
    return refusal_response(error.status_code, reason, error.headers)


async def _internal_error(request: Request, error: Exception) -> Response:
    return refusal_response(500, "the server failed; its log has the reason")

"""Requests in, answers out: the one handler behind every server.

However a server speaks HTTP, forms batches and runs workers, it gives what arrived to a
:class:`Service` and sends back what comes out. A request that fails is answered for itself alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from segplug.errors import DeviceError, EngineError, SegplugError, ShapeError
from segplug.palette import choose_palette
from segplug.runtime.paint import Painter
from segplug.runtime.segment import Segmenter
from segplug.serving.answers import Answer, as_json, class_shares, mask_png, png, refusal
from segplug.serving.requests import (
    Limits,
    Output,
    RefusedRequestError,
    Request,
    image_of,
    opacity_of,
    output_of,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.engine import Engine
    from segplug.progress import Reporter

__all__ = ["TIMING_HEADER", "Job", "Service"]

TIMING_HEADER = "Server-Timing"
"""Milliseconds inside the server, as browsers and proxies read them: ``model;dur=12.3``."""

_log = logging.getLogger("segplug.serving")


@dataclass(frozen=True)
class Job:
    """A request that can be worked on."""

    image: npt.NDArray[np.uint8]
    output: Output
    opacity: float
    decoding: float
    """Seconds that reading the image took."""


class Service:
    """Answers requests with one engine. Used by one thread at a time.

    Args:
        engine: The engine; it stays the caller's, who closes it.
        limits: What one request may cost.
        batch_size: Images of one network size that the engine is given together.
        reporter: Where the runtime's warnings go.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        limits: Limits | None = None,
        batch_size: int = 1,
        reporter: Reporter | None = None,
    ) -> None:
        self.meta = engine.spec.meta
        self.backend = engine.spec.backend
        self._limits = limits or Limits()
        self._segment = Segmenter(engine, batch_size=batch_size, reporter=reporter)
        self.batch_size = self._segment.group_size
        """Requests that the engine gains from having at once."""
        self._palette = choose_palette([self.meta.palette], self.meta.num_classes)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests that a server has collected, each on its own, in their order."""
        read = [self.read(request) for request in requests]
        jobs = {index: job for index, job in enumerate(read) if isinstance(job, Job)}
        answers = {index: answer for index, answer in enumerate(read) if isinstance(answer, Answer)}
        writers = self.segment(list(jobs.values()))
        answers.update((index, write()) for index, write in zip(jobs, writers, strict=True))
        return [answers[index] for index in range(len(requests))]

    def read(self, request: Request) -> Job | Answer:
        """What is asked for, decoded; or the answer, where no network is needed for it. Any thread."""
        start = time.perf_counter()
        try:
            output = output_of(request)
            if output == "meta":
                return as_json({"meta": self.meta.public().to_dict(), "backend": self.backend})
            opacity = opacity_of(request)
            image = image_of(request, self._limits)
        except RefusedRequestError as error:
            return refusal(error.status, error.message)
        except Exception:
            return _fault("reading a request")
        return Job(image, output, opacity, time.perf_counter() - start)

    def segment(self, jobs: Sequence[Job]) -> list[Callable[[], Answer]]:
        """Segment the images of jobs.

        Returns:
            For each job what puts its answer into the form that it asks for. Any thread may call it: painting
            a large image takes as long as a fast network, which need not wait for it.
        """
        if not jobs:
            return []
        before, start = self._segment.runner.seconds, time.perf_counter()
        found = self._segment([job.image for job in jobs])
        seconds = _Seconds(self._segment.runner.seconds - before, time.perf_counter() - start, len(jobs))
        return [
            partial(self._answered, job, labels, seconds) for job, labels in zip(jobs, found, strict=True)
        ]

    def _answered(self, job: Job, found: npt.NDArray[Any] | Exception, seconds: _Seconds) -> Answer:
        if isinstance(found, Exception):
            return _failed(found)
        try:
            return self._rendered(job, found, seconds)
        except Exception:
            return _fault("writing an answer")

    def _rendered(self, job: Job, labels: npt.NDArray[Any], seconds: _Seconds) -> Answer:
        start = time.perf_counter()
        if job.output == "json":
            return as_json(
                class_shares(labels, self.meta), headers={TIMING_HEADER: seconds.header(job, start)}
            )
        if job.output == "painted":
            body = png(Painter(self._palette, opacity=job.opacity)(job.image, labels))
        else:
            body = mask_png(labels)
        return Answer(200, body, "image/png", {TIMING_HEADER: seconds.header(job, start)})


@dataclass(frozen=True)
class _Seconds:
    """What a batch took; each of its requests waited for all of it."""

    engine: float
    whole: float
    """Engine, preprocessing and labels."""
    images: int

    def header(self, job: Job, rendering_since: float) -> str:
        """The times of one request, milliseconds."""
        parts = {
            "decode": job.decoding,
            "model": self.engine,
            "process": self.whole - self.engine,
            "encode": time.perf_counter() - rendering_since,
        }
        listed = ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in parts.items())
        return f'{listed}, batch;desc="{self.images}"'


def _failed(error: Exception) -> Answer:
    if isinstance(error, ShapeError):
        return refusal(422, str(error))
    _log.error("%s", error, exc_info=None if isinstance(error, SegplugError) else error)
    if isinstance(error, (DeviceError, EngineError)):  # out of memory, or gone: another try may do
        return refusal(503, "the model cannot run just now")
    return refusal(500, "the model failed")


def _fault(doing: str) -> Answer:
    """A fault of ours: the reason is the operator's to read, not the client's."""
    _log.exception("%s failed", doing)
    return refusal(500, f"{doing} failed; the server's log says why")

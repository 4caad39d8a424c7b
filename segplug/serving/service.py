"""The request handler that all servers share.

A server speaks HTTP, forms batches and runs workers. It passes requests to a :class:`Service` and sends its
answers back. If one request of a batch fails, the others are still answered.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from segplug.errors import (
    DatasetError,
    DeviceError,
    EngineError,
    NonfiniteError,
    SegplugError,
    ShapeError,
    UsageError,
)
from segplug.legend import legend_entries
from segplug.palette import Palette, label_colours
from segplug.runtime.indexed_png import indexed_png
from segplug.runtime.paint import Painter
from segplug.runtime.postprocess import mark_unknown, require_scores
from segplug.runtime.segment import Segmenter
from segplug.runtime.sizes import plan_sizes
from segplug.runtime.view import Viewer
from segplug.serving.answers import (
    Answer,
    class_shares,
    color_png,
    confidence_png,
    json_answer,
    png,
    refusal,
)
from segplug.serving.requests import (
    Limits,
    Output,
    RefusedRequestError,
    Request,
    read_bands,
    read_image,
    read_opacity,
    read_output,
    read_unknown_below,
)
from segplug.version import __version__

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Engine
    from segplug.progress import Reporter
    from segplug.runtime.postprocess import Prediction

__all__ = ["TIMING_HEADER", "Job", "Service", "Wanted"]

TIMING_HEADER = "Server-Timing"
"""The header with the milliseconds spent in the server: ``model;dur=12.3``. A web standard."""

_log = logging.getLogger("segplug.serving")


@dataclass(frozen=True)
class Wanted:
    """What a request asks for, checked. Its image is not read yet."""

    output: Output
    opacity: float
    viewer: Viewer
    unknown_below: float
    """Labels of a lower probability become unknown."""

    @property
    def needs_confidence(self) -> bool:
        """Whether the probabilities of the labels are needed."""
        return self.output == "confidence" or self.unknown_below > 0


@dataclass(frozen=True)
class Job:
    """A request that was read and accepted."""

    image: npt.NDArray[Any]
    """``(H, W, C)`` of any numeric type, or a masked array."""
    wanted: Wanted
    decoding: float
    """Seconds that decoding the image took."""


class Service:
    """Answers requests with one engine. One thread at a time may use :meth:`answer` and :meth:`segment`.

    Args:
        engine: The engine; the caller closes it.
        limits: The limits of one image.
        batch_size: The largest batch for the engine; its images have one network size.
        unknown_below: Labels of a lower probability become unknown, unless a request says otherwise.
        palette: One RGB colour for each class; ``None``: the model's own.
        reporter: Receives the runtime's warnings.

    Raises:
        UsageError: ``unknown_below`` is set, and the engine gives labels, which have no probabilities.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        limits: Limits | None = None,
        batch_size: int = 1,
        unknown_below: float | None = None,
        palette: Palette | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.meta = engine.spec.meta
        self.backend = engine.spec.backend
        self._spec = engine.spec
        if unknown_below is not None:
            require_scores(engine.spec, "unknown_below")
        self._limits = limits or Limits()
        self._unknown_below = unknown_below or 0.0
        self._segment = Segmenter(engine, batch_size=batch_size, reporter=reporter)
        self.batch_size = self._segment.group_size
        """The number of requests that are worth answering together."""
        self._colours = label_colours(
            [palette or (), self.meta.palette],
            self.meta.num_classes,
            self.meta.classes,
            multilabel=self.meta.multilabel,
        )

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer a batch of requests, in their order. A request that fails does not affect the others."""
        read = [self.read(request) for request in requests]
        jobs = {index: job for index, job in enumerate(read) if isinstance(job, Job)}
        answers = {index: answer for index, answer in enumerate(read) if isinstance(answer, Answer)}
        encoders = self.segment(list(jobs.values()))
        answers.update((index, encode()) for index, encode in zip(jobs, encoders, strict=True))
        return [answers[index] for index in range(len(requests))]

    def read(self, request: Request) -> Job | Answer:
        """Decode a request's image, or answer at once if no network is needed. Any thread may call it."""
        start = time.perf_counter()
        wanted = self.check(request)
        if isinstance(wanted, Answer):
            return wanted
        try:
            image = read_image(request, self._limits, self.meta)
        except RefusedRequestError as error:
            return refusal(error.status, error.message)
        except Exception:
            return _internal_error("reading a request")
        return self.job(wanted, image, time.perf_counter() - start)

    def check(self, request: Request) -> Wanted | Answer:
        """Check all of a request but its image, or answer at once if it needs none. Any thread may call it.

        A server that decodes images elsewhere calls this before, and :meth:`job` after.
        """
        try:
            output = read_output(request)
            if output == "meta":
                return json_answer(self._description())
            opacity, viewer = read_opacity(request), self._viewer(request)
            return Wanted(output, opacity, viewer, self._read_unknown_below(request, output))
        except RefusedRequestError as error:
            return refusal(error.status, error.message)
        except Exception:
            return _internal_error("reading a request")

    def _description(self) -> dict[str, Any]:
        """The answer to ``output=meta``."""
        ignored = self._segment.ignored
        entries = legend_entries(self.meta.label_names, self._colours, unknown=ignored)
        shown = ("label", "name", "colour", "painted")
        public = self.meta.public()
        return {
            "meta": public.to_dict(),
            "facts": {what: list(lines) for what, lines in public.facts()},
            "backend": self.backend,
            "legend": [{name: getattr(entry, name) for name in shown} for entry in entries],
            "multilabel": self.meta.multilabel,
            "unknown_label": ignored,
            "limits": dataclasses.asdict(self._limits),
            "segplug": __version__,
        }

    def job(self, wanted: Wanted, image: npt.NDArray[Any], decoding: float) -> Job | Answer:
        """A job of what :meth:`check` returned and its image, or a refusal. Any thread may call it.

        Args:
            wanted: What the request asks for.
            image: What :func:`segplug.serving.requests.read_image` returned for it.
            decoding: Seconds that decoding took.
        """
        try:
            self._check_input(image)
        except RefusedRequestError as error:
            return refusal(error.status, error.message)
        except Exception:
            return _internal_error("reading a request")
        return Job(image, wanted, decoding)

    def _check_input(self, image: npt.NDArray[Any]) -> None:
        """Refuse an image that preprocessing makes too large: a long and narrow one, if its short edge is
        raised.
        """
        if self._spec.height.is_fixed and self._spec.width.is_fixed and self.meta.inference.mode == "whole":
            return  # it is stretched to that size
        sizes = plan_sizes(self.meta.preprocessing, (image.shape[0], image.shape[1])).sizes
        most = max(self._limits.pixels, Limits.pixels, image.shape[0] * image.shape[1])
        height, width = max(sizes, key=math.prod, default=(0, 0))
        if height * width > most:
            raise RefusedRequestError(
                413,
                f"the image in the request is {image.shape[1]}x{image.shape[0]}, and preprocessing would "
                f"make it {width}x{height}: more than {most} pixels are not computed",
            )

    def _viewer(self, request: Request) -> Viewer:
        bands = read_bands(request)
        try:
            return Viewer(self.meta.decoding, bands, channels=self.meta.in_channels)
        except UsageError as error:
            raise RefusedRequestError(400, str(error)) from error

    def _read_unknown_below(self, request: Request, output: Output) -> float:
        asked = read_unknown_below(request)
        if asked or output == "confidence":
            try:
                require_scores(self._spec, "output=confidence" if output == "confidence" else "unknown_below")
            except UsageError as error:
                raise RefusedRequestError(400, error.message) from error
        return self._unknown_below if asked is None else asked

    def segment(self, jobs: Sequence[Job]) -> list[Callable[[], Answer]]:
        """Segment the images of jobs.

        Returns:
            For each job a function that encodes its answer, which any thread may call: painting a large image
            takes as long as a fast network, and the network need not wait for it.
        """
        if not jobs:
            return []
        before, start = self._segment.runner.seconds, time.perf_counter()
        # One batch, even if only some of its requests need probabilities.
        confidence = any(job.wanted.needs_confidence for job in jobs)
        names = ["in the request"] * len(jobs)
        found = self._segment([job.image for job in jobs], confidence=confidence, names=names)
        seconds = _Seconds(self._segment.runner.seconds - before, time.perf_counter() - start, len(jobs))
        return [partial(self._encode, job, each, seconds) for job, each in zip(jobs, found, strict=True)]

    def _encode(self, job: Job, found: Prediction | Exception, seconds: _Seconds) -> Answer:
        if isinstance(found, Exception):
            return _model_failure(found)
        try:
            return self._encode_prediction(job, found, seconds)
        except Exception:
            return _internal_error("encoding an answer")

    def _encode_prediction(self, job: Job, found: Prediction, seconds: _Seconds) -> Answer:
        start = time.perf_counter()
        labels, wanted = found.labels, job.wanted
        if wanted.unknown_below > 0:
            labels = mark_unknown(found, wanted.unknown_below, self._segment.ignored)
        if wanted.output == "json":
            shares = class_shares(labels, self.meta, self._colours, self._segment.ignored)
            return json_answer(shares, headers={TIMING_HEADER: seconds.header(job, start)})
        if wanted.output == "painted":
            paint = Painter(
                self._colours.of_labels, opacity=wanted.opacity, unpainted=self._colours.unpainted
            )
            body = png(paint(wanted.viewer(job.image), labels))
        elif wanted.output == "color":
            body = color_png(labels, self._colours.of_labels)
        elif wanted.output == "confidence":
            assert found.confidence is not None
            body = confidence_png(found.confidence)
        else:
            body = indexed_png(labels, self._colours.of_labels, unknown=self._segment.ignored)
        return Answer(200, body, "image/png", {TIMING_HEADER: seconds.header(job, start)})


@dataclass(frozen=True)
class _Seconds:
    """The times of a batch; each of its requests waited for all of it."""

    engine: float
    whole: float
    """Preprocessing, the engine and the labels."""
    images: int

    def header(self, job: Job, encoding_since: float) -> str:
        """The times of one request as the header's value, in milliseconds."""
        parts = {
            "decode": job.decoding,
            "model": self.engine,
            "process": self.whole - self.engine,
            "encode": time.perf_counter() - encoding_since,
        }
        listed = ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in parts.items())
        return f'{listed}, batch;desc="{self.images}"'


def _model_failure(error: Exception) -> Answer:
    if isinstance(error, (ShapeError, DatasetError)):
        return refusal(422, str(error))
    if isinstance(error, NonfiniteError):
        _log.error("%s", error.message)
        return refusal(500, error.message)
    _log.error("%s", error, exc_info=None if isinstance(error, SegplugError) else error)
    if isinstance(
        error, (DeviceError, EngineError)
    ):  # out of memory, or the device is gone: a later request may succeed
        return refusal(503, "the model cannot run at the moment")
    return refusal(500, "the model failed")


def _internal_error(doing: str) -> Answer:
    """The answer to an error of ours: the log has the reason, the client does not get it."""
    _log.exception("%s failed", doing)
    return refusal(500, f"{doing} failed; the server's log has the reason")

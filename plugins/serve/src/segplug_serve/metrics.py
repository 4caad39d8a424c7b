"""The Prometheus metrics of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from segplug.serving.requests import Output

__all__ = ["Metrics"]

_SECONDS_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one server, in a registry of their own.

    Args:
        model: The model's name.
        backend: The backend that runs the model.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, model: str, backend: str) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        Info("segplug_model", "The model and its backend.", registry=self._registry).info(
            {"name": model, "backend": backend}
        )
        self._requests = Counter(
            "segplug_requests",
            "Requests for predictions by status; 499: the client disconnected.",
            ["status", "output"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "segplug_request_seconds",
            "Seconds from header to answer, of requests answered with 200.",
            ["output"],
            buckets=_SECONDS_BUCKETS,
            registry=self._registry,
        )
        self.model_seconds = self._histogram(
            "segplug_model_seconds", "Seconds of one batch: preprocessing, engine, labels.", _SECONDS_BUCKETS
        )
        self.reader_restarts = Counter(
            "segplug_reader_restarts",
            "Reader processes that ended, or were ended, and were replaced.",
            registry=self._registry,
        )
        self.batch_size = self._histogram("segplug_batch_size", "Requests in one batch.", _BATCH_BUCKETS)

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Add a number that is read whenever the metrics are read."""
        Gauge(name, about, registry=self._registry).set_function(read)

    def count_request(self, status: int, output: str, seconds: float) -> None:
        """Count one request. ``output`` comes from the client: unknown words are counted as ``unknown``."""
        known = output.lower() if output.lower() in get_args(Output) else "unknown"
        self._requests.labels(str(status), known).inc()
        if status == 200:
            self._seconds.labels(known).observe(seconds)

    def page(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, about, buckets=buckets, registry=self._registry)

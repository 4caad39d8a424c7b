"""What Prometheus reads of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from segplug.serving.requests import Output

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Numbers of one server, in a registry of their own.

    Args:
        model: Its name.
        backend: What runs it.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, model: str, backend: str) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        Info("segplug_model", "What is served.", registry=self._registry).info(
            {"name": model, "backend": backend}
        )
        self._requests = Counter(
            "segplug_requests",
            "Requests for predictions that were answered, or whose sender left (499).",
            ["status", "output"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "segplug_request_seconds",
            "From head to answer, of requests answered with 200.",
            ["output"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.model_seconds = self._histogram(
            "segplug_model_seconds", "Of one batch: preprocessing, the engine, labels.", _SECONDS
        )
        self.batch_size = self._histogram("segplug_batch_size", "Requests in one batch.", _IMAGES)

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """A number that is asked for when somebody looks."""
        Gauge(name, about, registry=self._registry).set_function(read)

    def answered(self, status: int, output: str, seconds: float) -> None:
        """Count one request; of ``output``, which the client wrote, only words that are known."""
        known = output.lower() if output.lower() in get_args(Output) else "unknown"
        self._requests.labels(str(status), known).inc()
        if status == 200:
            self._seconds.labels(known).observe(seconds)

    def page(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, about, buckets=buckets, registry=self._registry)

"""What TensorRT says: errors and warnings are kept, since its setters log and do not raise."""

from __future__ import annotations

from collections import deque
from typing import Any

from segplug.progress import QuietReporter, Reporter

__all__ = ["log_of"]

_KEPT = ("INTERNAL_ERROR", "ERROR", "WARNING")

_FOR_THE_RUNNER = "has Int64 binding"
"""Advice to whoever binds an output of labels, which infer tensorrt does by the type that the plan has."""


_MOST = 100
"""Messages kept of an engine that may run for weeks."""

_LOGS: dict[str, Any] = {}
"""One for each library: the first that a process gives is the one that the library uses for good."""


def log_of(trt: Any, reporter: Reporter, *, verbose: bool = False) -> Any:
    """The logger of ``trt`` (a subclass of its ``ILogger``), emptied, which tells ``reporter`` from now on.

    ``reason()`` is what it gave for an error, in one line; ``warnings()`` what must be known, once each.
    """
    if trt.__name__ not in _LOGS:
        _LOGS[trt.__name__] = _made(trt)
    log = _LOGS[trt.__name__]
    log.begin(reporter, verbose)
    return log


def _made(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.begin(QuietReporter(), verbose=False)

        def begin(self, reporter: Reporter, verbose: bool) -> None:
            self.reporter, self.verbose = reporter, verbose
            self.kept: deque[tuple[str, str]] = deque(maxlen=_MOST)

        def log(self, severity: Any, message: str) -> None:
            if severity.name in _KEPT and _FOR_THE_RUNNER not in message:
                self.kept.append((severity.name, " ".join(message.split())))
            elif self.verbose:
                self.reporter.note(message)

        def reason(self) -> str:
            errors = dict.fromkeys(text for kind, text in self.kept if kind != "WARNING")
            return "; ".join(list(errors)[:3]) or "it gave no reason"

        def warnings(self) -> tuple[str, ...]:
            return tuple(dict.fromkeys(text for kind, text in self.kept if kind == "WARNING"))

    return Log()

"""Collect TensorRT's log messages: its setters log errors instead of raising them."""

from __future__ import annotations

from collections import deque
from typing import Any

from segplug.progress import QuietReporter, Reporter

__all__ = ["get_log"]

_KEPT = ("INTERNAL_ERROR", "ERROR", "WARNING")

_INT64_ADVICE = "has Int64 binding"
"""In a warning about outputs of int64 labels, which infer tensorrt handles."""


_MOST = 100
"""How many messages are kept: an engine may run for weeks."""

_LOGS: dict[str, Any] = {}
"""One for each library: a library keeps the first logger that it gets in a process."""


def get_log(trt: Any, reporter: Reporter, *, verbose: bool = False) -> Any:
    """The logger of ``trt`` (a subclass of its ``ILogger``), emptied, with ``reporter`` as its reporter.

    ``reason()`` returns the logged errors in one line, ``warnings()`` each logged warning once.
    """
    if trt.__name__ not in _LOGS:
        _LOGS[trt.__name__] = _make_log(trt)
    log = _LOGS[trt.__name__]
    log.begin(reporter, verbose)
    return log


def _make_log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.begin(QuietReporter(), verbose=False)

        def begin(self, reporter: Reporter, verbose: bool) -> None:
            self.reporter, self.verbose = reporter, verbose
            self.kept: deque[tuple[str, str]] = deque(maxlen=_MOST)

        def log(self, severity: Any, message: str) -> None:
            if severity.name in _KEPT and _INT64_ADVICE not in message:
                self.kept.append((severity.name, " ".join(message.split())))
            elif self.verbose:
                self.reporter.note(message)

        def reason(self) -> str:
            errors = dict.fromkeys(text for kind, text in self.kept if kind != "WARNING")
            return "; ".join(list(errors)[:3]) or "no reason was logged"

        def warnings(self) -> tuple[str, ...]:
            return tuple(dict.fromkeys(text for kind, text in self.kept if kind == "WARNING"))

    return Log()

"""What TensorRT says: errors and warnings are kept, since its setters log and do not raise."""

from __future__ import annotations

from typing import Any

from segplug.reporting import Reporter

__all__ = ["make_log"]

_KEPT = ("INTERNAL_ERROR", "ERROR", "WARNING")


def make_log(trt: Any, reporter: Reporter, *, verbose: bool = False) -> Any:
    """A logger for ``trt`` (a subclass of its ``ILogger``) with two methods more.

    ``reason()`` is what it gave for an error, in one line; ``warnings()`` what must be known, once each.
    """

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.kept: list[tuple[str, str]] = []

        def log(self, severity: Any, message: str) -> None:
            if severity.name in _KEPT:
                self.kept.append((severity.name, " ".join(message.split())))
            elif verbose:
                reporter.note(message)

        def reason(self) -> str:
            errors = dict.fromkeys(text for kind, text in self.kept if kind != "WARNING")
            return "; ".join(list(errors)[:3]) or "it gave no reason"

        def warnings(self) -> tuple[str, ...]:
            return tuple(dict.fromkeys(text for kind, text in self.kept if kind == "WARNING"))

    return Log()

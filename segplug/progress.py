"""How long work tells its caller what it is doing.

Providers and the runtime talk to a :class:`Reporter`; the command line shows it on stderr, the
Python API stays silent unless it is given one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["Progress", "QuietReporter", "Recorder", "Reporter"]


class Progress(Protocol):
    """One running task."""

    def advance(self, steps: int = 1) -> None:
        """``steps`` more of the total are done."""
        ...


class Reporter(Protocol):
    """Where notes, warnings and progress go."""

    def note(self, message: str) -> None:
        """Something worth a line."""
        ...

    def warn(self, message: str) -> None:
        """Something the user should know before trusting the result."""
        ...

    def progress(self, description: str, total: int | None) -> AbstractContextManager[Progress]:
        """Show a task of ``total`` steps (``None``: unknown) while the context is open."""
        ...


class _NoProgress:
    def advance(self, steps: int = 1) -> None:
        pass


class QuietReporter:
    """Keeps warnings in a list and shows nothing."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def progress(self, description: str, total: int | None) -> AbstractContextManager[Progress]:
        return nullcontext(_NoProgress())


class Recorder:
    """Passes everything on to another reporter, and keeps the warnings for a report."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        self._reporter.note(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)
        self._reporter.warn(message)

    def progress(self, description: str, total: int | None) -> AbstractContextManager[Progress]:
        return self._reporter.progress(description, total)

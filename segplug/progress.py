"""Notes, warnings and stages of long work, for its caller.

Providers and the runtime send them to a :class:`Reporter`. The command line shows them on stderr; the
Python API shows nothing unless it is given a reporter.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["Progress", "QuietReporter", "Recorder", "Reporter"]


class Progress(Protocol):
    """A stage that is open."""

    def advance(self, steps: int = 1) -> None:
        """``steps`` more of the total are done."""
        ...


class Reporter(Protocol):
    """Where notes, warnings and progress go."""

    def note(self, message: str) -> None:
        """Show one line of information."""
        ...

    def warn(self, message: str) -> None:
        """Show a warning: something to know before trusting the result."""
        ...

    def progress(self, description: str, total: int | None) -> AbstractContextManager[Progress]:
        """Show a stage of long work while the context is open; stages may follow or contain each other.

        Args:
            description: What is done, in a few words: ``loading the model``.
            total: How many steps are counted with ``advance``; ``None``: none are.
        """
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

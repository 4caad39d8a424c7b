"""Keep what the runs warn of: who reads the report later, has not seen the terminal."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segplug.api import Segplug
    from segplug.reporting import Progress, Reporter

__all__ = ["Recorder", "recorded"]


class Recorder:
    """Passes everything on to another reporter, and keeps the warnings."""

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


def recorded(session: Segplug) -> tuple[Segplug, list[str]]:
    """The session as one that keeps its warnings, and the list that they go to."""
    recorder = Recorder(session.reporter)
    recording = copy.copy(session)  # the caller's own stays as it is
    recording.reporter = recorder
    return recording, recorder.warnings

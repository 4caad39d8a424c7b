"""Keep what the runs warn of: who reads the report later, has not seen the terminal."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from segplug.reporting import Recorder

if TYPE_CHECKING:
    from segplug.api import Segplug

__all__ = ["recorded"]


def recorded(session: Segplug) -> tuple[Segplug, list[str]]:
    """The session as one that keeps its warnings, and the list that they go to."""
    recorder = Recorder(session.reporter)
    recording = copy.copy(session)  # the caller's own stays as it is
    recording.reporter = recorder
    return recording, recorder.warnings

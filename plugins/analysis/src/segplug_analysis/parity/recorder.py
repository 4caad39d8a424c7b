"""Keep the warnings of the runs: a report's reader has not seen the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.progress import Recorder

if TYPE_CHECKING:
    from segplug.session import Session

__all__ = ["recorded"]


def recorded(session: Session) -> tuple[Session, list[str]]:
    """The session as one that keeps its warnings, and the list that they go to."""
    recorder = Recorder(session.reporter)
    return session.with_reporter(recorder), recorder.warnings

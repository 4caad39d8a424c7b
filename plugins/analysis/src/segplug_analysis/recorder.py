"""Record the warnings of the runs for the report: its reader has not seen the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.progress import Recorder

if TYPE_CHECKING:
    from segplug.session import Session

__all__ = ["record_warnings"]


def record_warnings(session: Session) -> tuple[Session, list[str]]:
    """The session with a reporter that also records warnings, and the list that they are added to."""
    recorder = Recorder(session.reporter)
    return session.with_reporter(recorder), recorder.warnings

"""SIGTERM as an orderly end: nothing half written stays behind, and a run can be resumed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["run_until_terminated"]

_TERMINATED = 128 + signal.SIGTERM
"""What a shell says of a process that SIGTERM ended."""


def run_until_terminated(work: Callable[[], int]) -> int:
    """Call ``work`` and return its exit code, or 143 if SIGTERM came meanwhile.

    SIGTERM becomes the exception of Ctrl-C: all code that cleans up, and that must not take the user's wish
    for a failure of its own, knows that one. (A config and a plugin may raise SystemExit, which is an
    error in them.) Where signals are not this function's to handle, ``work`` is only called: outside the
    main thread, or where whoever started the process set SIGTERM aside.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return work()
    owner, terminated = os.getpid(), False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        if os.getpid() != owner:  # a fork that somebody ends
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        elif not terminated:  # a second one must not break into the cleaning up
            terminated = True
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        code = work()
    except KeyboardInterrupt:
        if not terminated:
            raise
        code = _TERMINATED
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return _TERMINATED if terminated else code

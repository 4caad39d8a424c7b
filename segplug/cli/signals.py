"""End cleanly on SIGTERM: no half-written file is left, and a run can be resumed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["run_until_terminated"]

_TERMINATED = 128 + signal.SIGTERM
"""The exit code that shells report for a process that SIGTERM ended."""


def run_until_terminated(work: Callable[[], int]) -> int:
    """Call ``work`` and return its exit code, or 143 if SIGTERM came meanwhile.

    SIGTERM raises KeyboardInterrupt, as Ctrl-C does: code that cleans up handles that exception already, and
    does not report it as a failure. (A config and a plugin may raise SystemExit, which is an error in them.)
    Outside the main thread, and if SIGTERM is already ignored or handled, ``work`` is only called.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return work()
    owner, terminated = os.getpid(), False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        if os.getpid() != owner:  # a forked process
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

"""End cleanly on SIGTERM and Ctrl-C: no half-written file is left, and a run can be resumed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

__all__ = ["run_until_stopped"]

_USUAL: Mapping[int, Any] = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}

_AGAIN = 0.05
"""Seconds until a signal is raised again that could not end the work at once."""

_FRAGILE = "torch"
"""A package whose C++ code calls Python while it is imported: an exception there aborts the process."""


def run_until_stopped(work: Callable[[], int]) -> int:
    """Call ``work`` and return its exit code, or 143 or 130 if SIGTERM or SIGINT came meanwhile.

    Both raise KeyboardInterrupt: code that cleans up handles that exception already, and does not report it
    as a failure. (A config and a plugin may raise SystemExit, which is an error in them.)
    Outside the main thread, ``work`` is only called; a signal that is already ignored or handled stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    ours = [number for number, handler in _USUAL.items() if signal.getsignal(number) is handler]
    stop, hook = _Stop(), sys.unraisablehook

    def unraisable(lost: sys.UnraisableHookArgs) -> None:
        # Python drops what is raised in a destructor, or in a callback of its imports: an interrupt, too.
        if lost.exc_type is KeyboardInterrupt and stop.number:
            _raise_later(stop.number)
            stop.number = 0
        else:
            hook(lost)

    for number in ours:
        signal.signal(number, stop)
    sys.unraisablehook = unraisable
    code = 0
    try:
        code = work()
    except KeyboardInterrupt:
        if not stop.number:
            raise
        print("error: interrupted", file=sys.stderr)
    finally:
        sys.unraisablehook = hook
        for number in ours:
            signal.signal(number, _USUAL[number])
    return 128 + stop.number if stop.number else code


class _Stop:
    """The handler: raises KeyboardInterrupt, and keeps the number of the signal that did."""

    def __init__(self) -> None:
        self.number = 0
        self._owner = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a forked process
            signal.signal(number, _USUAL[number])
            signal.raise_signal(number)
        elif self.number and number == signal.SIGTERM:
            pass  # a second one must not break into the cleaning up
        elif _imports(_FRAGILE, frame):
            _raise_later(number)
        else:
            self.number = self.number or number
            raise KeyboardInterrupt


def _imports(package: str, frame: FrameType | None) -> bool:
    """Whether a package is being imported below ``frame``."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if frame.f_code.co_name == "<module>" and module.partition(".")[0] == package:
            return True
        frame = frame.f_back
    return False


def _raise_later(number: int) -> None:
    # To the main thread itself: there, a signal ends a wait of the system, too.
    main = threading.main_thread().ident
    again = threading.Timer(_AGAIN, signal.pthread_kill, [main, number])
    again.daemon = True
    again.start()

"""Show the builder's progress, and stop it on Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from segplug.progress import Progress

__all__ = ["Interruption", "interruptible", "make_monitor"]


class Interruption:
    """Whether a signal has asked to stop the build, and which one."""

    def __init__(self) -> None:
        self.handler: Any = None
        self.arguments: tuple[int, FrameType | None] | None = None

    @property
    def requested(self) -> bool:
        """Whether the builder must stop."""
        return self.arguments is not None

    def record(self, number: int, frame: FrameType | None) -> None:
        """Record a signal."""
        self.arguments = (number, frame)

    def deliver(self) -> None:
        """Call the handler that the recorded signal had before, which usually raises."""
        if self.arguments is not None:
            if callable(self.handler):
                self.handler(*self.arguments)
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn Ctrl-C and SIGTERM into a request to stop, which the builder reads in its callbacks.

    An exception raised inside a callback would be printed and lost.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, frame: FrameType | None) -> None:
        interruption.handler = before[signal.Signals(number)]
        interruption.record(number, frame)

    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, handle)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    interruption.deliver()


def make_monitor(trt: Any, bar: Progress, interruption: Interruption) -> Any:
    """An ``IProgressMonitor`` that advances ``bar``, and stops the builder on an interruption."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            bar.advance()
            return not interruption.requested

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()

"""A progress bar from the builder's own phases, and Ctrl-C on the way back."""

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
    """Whether somebody wants the build to end, and which signal said so."""

    def __init__(self) -> None:
        self.handler: Any = None
        self.arguments: tuple[int, FrameType | None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether the builder is to stop."""
        return self.arguments is not None

    def take(self, number: int, frame: FrameType | None) -> None:
        """Be a signal handler."""
        self.arguments = (number, frame)

    def pass_on(self) -> None:
        """Do now what the signal does elsewhere: raise, as a rule."""
        if self.arguments is not None:
            if callable(self.handler):
                self.handler(*self.arguments)
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn Ctrl-C and SIGTERM into a request to the builder, which holds the interpreter while it works.

    An exception raised inside one of its callbacks would be printed and lost.
    """
    wish = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def taken(number: int, frame: FrameType | None) -> None:
        wish.handler = before[signal.Signals(number)]
        wish.take(number, frame)

    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, taken)
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    wish.pass_on()


def make_monitor(trt: Any, bar: Progress, wish: Interruption) -> Any:
    """An ``IProgressMonitor`` that advances ``bar`` and asks the builder to stop where ``wish`` says so."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            bar.advance()
            return not wish.wanted

        def phase_finish(self, phase_name: str) -> None:
            pass

    return Monitor()

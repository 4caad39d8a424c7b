"""Run a command from a Makefile so that Ctrl-C and SIGTERM end all of it, and `make` has nothing to add.

    @exec env MAKE_PID=$$PPID python3 scripts/stoppable.py COMMAND...

The command gets a process group of its own. SIGINT and SIGTERM interrupt the whole group, as Ctrl-C does on a
terminal; the command prints the one line that says so. What does not end within `PATIENCE` is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from types import FrameType

PATIENCE = 15
"""Seconds that the command has to clean up."""


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal came; its number is the argument."""


def main() -> int:
    """Run the command; returns its exit code, or 128 and the number of the signal that ended it."""
    for number in SIGNALS:
        signal.signal(number, stop)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until it is known what to interrupt
    child = subprocess.Popen(sys.argv[1:], preexec_fn=begin_group)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = child.wait()
        return code if code >= 0 else 128 - code
    except Stopped as stopped:
        number = int(stopped.args[0])
    interrupt(child)
    if os.environ.get("MAKE_PID") == str(os.getppid()):
        # A failed recipe is an error to make, which says so in a line of its own. Ended by the same signal,
        # make is silent, and its exit code says what happened.
        os.kill(os.getppid(), number)
        return 0
    return 128 + number


def begin_group() -> None:
    """In the child, before the command: a group of its own, which gets the signals."""
    os.setpgrp()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def stop(number: int, frame: FrameType | None) -> None:
    """Handle the first signal. Later ones, as make's after a terminal's, must not end the cleaning up."""
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)


def interrupt(child: subprocess.Popen[bytes]) -> None:
    """Interrupt the command and all that it has started, and wait for its end."""
    os.killpg(child.pid, signal.SIGINT)
    try:
        child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    # What the command has left behind in its group, such as the compiler of a package.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

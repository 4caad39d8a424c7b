"""Run the demo: ``python demo``. Ctrl-C and SIGTERM end it with one line."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED = "error: interrupted\n"


def end(number: int, frame: FrameType | None) -> None:
    """End at once: while modules are imported, there is nothing to clean up."""
    os.write(sys.stderr.fileno(), INTERRUPTED.encode())
    os._exit(128 + signal.SIGINT)


def main() -> int:
    """Run the demo; returns its exit code."""
    for number in SIGNALS:
        signal.signal(number, end)
    # The page shows what scripts/breadth says.
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from run import main as run_demo

    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    try:
        run_demo()
    except KeyboardInterrupt:
        sys.stderr.write(INTERRUPTED)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())

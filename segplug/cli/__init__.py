"""The command line: parse, call, print. :class:`segplug.api.Segplug` does the work.

Nothing here imports a plugin or numpy before a target's own command runs.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run ``segplug`` with the process's arguments and exit."""
    try:
        from segplug.cli.signals import run_until_stopped
        from segplug.cli.streams import Streams

        streams = Streams()
        code = run_until_stopped(_run)
    except KeyboardInterrupt:  # in the first milliseconds
        sys.exit(128 + signal.SIGINT)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Nothing is left to clean up: Ctrl-C ends the process without a word.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(streams.close(code))


def _run() -> int:
    from segplug.cli.root import run_command_line

    return run_command_line(sys.argv[1:])

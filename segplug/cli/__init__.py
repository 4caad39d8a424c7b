"""The command line: parse, call, print. :class:`segplug.api.Segplug` does the work.

Nothing here imports a plugin or numpy before a target's own command runs.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run ``segplug`` with the process's arguments and exit."""
    from segplug.cli.root import run_command_line
    from segplug.cli.signals import run_until_terminated

    sys.exit(run_until_terminated(lambda: run_command_line(sys.argv[1:])))

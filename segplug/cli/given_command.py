"""The command that a user gave, for the foot of a page."""

from __future__ import annotations

import click

__all__ = ["ARGUMENTS", "given_command"]

ARGUMENTS = "segplug.arguments"
"""The key of the process's arguments in the context of a command."""


def given_command() -> str:
    """The running command, ready to paste into a shell, without secrets; empty outside of a command."""
    from segplug.reports.command_line import command_line

    context = click.get_current_context(silent=True)
    arguments = context.meta.get(ARGUMENTS) if context else None
    return command_line(arguments) if arguments else ""

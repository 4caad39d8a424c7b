"""Say which backend was chosen for a model where the user named none."""

from __future__ import annotations

from collections.abc import Sequence

from segplug.installed import Entry, Provider

__all__ = ["CHOICE", "choice_line"]

CHOICE = "segplug.choice"
"""The key of the line in the context of a command, which prints it with its results."""


def choice_line(backend: Provider, others: Sequence[Entry]) -> str:
    """One line on the chosen backend, and on those that open the file, too."""
    more = f" ({' and '.join(other.name for other in others)} open it, too)" if others else ""
    return f"backend: {backend.entry.name}{more}"

"""What a check finds."""

from __future__ import annotations

__all__ = ["Finding", "names", "shown"]

_MOST_SHOWN = 60


class Finding(Exception):
    """A reason not to open a file: the rest of a sentence that begins with the file's name."""


def shown(text: object) -> str:
    """A part of a hostile file as it may stand in a message: short, and of plain characters."""
    plain = ascii(str(text))[1:-1]
    return plain if len(plain) <= _MOST_SHOWN else f"{plain[:_MOST_SHOWN]}..."


def names(text: str) -> frozenset[str]:
    """A list of names from its words."""
    return frozenset(text.split())

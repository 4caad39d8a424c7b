"""The option ``--shape`` of the reports."""

from __future__ import annotations

from collections.abc import Sequence

from segplug.errors import UsageError
from segplug.limits import why_no_input
from segplug.text import counted

__all__ = ["given_size"]


def given_size(numbers: Sequence[int]) -> tuple[int, int] | None:
    """``--shape 512`` (square) or ``--shape 512 1024`` (height, width), in pixels; ``None`` if not given.

    Raises:
        UsageError: there are more numbers.
    """
    if len(numbers) > 2:
        raise UsageError(f"--shape takes height and width, not {counted(len(numbers), 'number')}")
    if not numbers:
        return None
    size = numbers[0], numbers[-1]
    if reason := why_no_input(size, channels=1):
        raise UsageError(f"--shape: {reason}")
    return size

"""The notes on a model that every report about it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from segplug.text import counted

__all__ = ["approximation_notes", "views_note"]


def approximation_notes(lines: Iterable[str]) -> Iterator[str]:
    """A note for each line of ``ModelMeta.approximations``, each once."""
    return (f"approximate: {line}" for line in dict.fromkeys(lines))


def views_note(views: int, what: str) -> Iterator[str]:
    """The note that test-time augmentation is left out; none if the model has none.

    Args:
        views: How many views of an image the model's own pipeline averages.
        what: What this means for the numbers of the report.
    """
    if views:
        yield f"without the test-time augmentation of the model's pipeline ({counted(views, 'view')}): {what}"

"""The option ``--bands`` of reports that paint images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segplug.model import ModelMeta

__all__ = ["BANDS_HELP", "checked_bands"]

BANDS_HELP = (
    "The channels that pictures show, numbered from 1 as in the file: one (grey) or three (red, green, "
    "blue). Default: the first three."
)


def checked_bands(given: Sequence[int], meta: ModelMeta) -> tuple[int, ...] | None:
    """The bands of :class:`segplug.runtime.view.Viewer`; ``None``: its default.

    Raises:
        UsageError: the images of the model do not have them, or there are not one or three.
    """
    from segplug.runtime.view import Viewer

    bands = tuple(given) or None
    Viewer(meta.decoding, bands, channels=meta.in_channels)
    return bands

"""The limits of an image, checked by its header before memory is taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segplug.errors import DatasetError
from segplug.limits import MOST_PIXELS
from segplug.text import counted

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Limits", "TooLargeError"]

MAX_PIXELS = MOST_PIXELS
"""Larger images and masks are refused before they are decoded: a small file can hold a huge image."""
MAX_BYTES = 4 << 30
"""The most bytes of a file, and of a decoded image."""


class TooLargeError(DatasetError):
    """An image or mask has too many pixels or bytes, or too long an edge."""


@dataclass(frozen=True)
class Limits:
    """What an image may be."""

    pixels: int = MAX_PIXELS
    """Height times width."""
    edge: int | None = None
    """The larger of height and width. If it is set, the image is a stranger's: only formats are read whose
    size is known for certain, and what a decoder has to do has lower limits."""
    channels: int | None = None
    """The number of channels that is expected; ``None``: any."""
    bytes: int = MAX_BYTES
    """Pixels times channels times the bytes of a value, as far as a header says them."""

    @property
    def scans(self) -> int:
        """The most scans of a JPEG. Encoders write about 10."""
        return 500 if self.edge is None else 100

    @property
    def chunks(self) -> int:
        """The most chunks of a PNG beside those of its pixels. Encoders write about 10."""
        return 1 << 16 if self.edge is None else 1000

    @property
    def texts(self) -> int:
        """The most bytes of compressed text in a PNG, which may unpack to a thousand times as many."""
        return 1 << 24 if self.edge is None else 1 << 19

    def check(self, what: str, shape: Sequence[int], itemsize: int, *, resized: bool = False) -> None:
        """Compare the shape in a header with the limits.

        Args:
            what: The image, for messages.
            shape: ``(H, W)`` or ``(H, W, C)``.
            itemsize: Bytes of one value.
            resized: Whether decoding changes the number of channels, so that it is not compared yet.

        Raises:
            TooLargeError: it has too many pixels or bytes, or too long an edge.
            DatasetError: it has no pixels, or another number of channels.
        """
        height, width = shape[:2]
        channels = shape[2] if len(shape) == 3 else 1
        if min(height, width, channels) < 1:
            raise DatasetError(
                f"{what} is damaged: it is {width}x{height} with {counted(channels, 'channel')}"
            )
        if not resized:
            self.check_channels(what, shape)
        if width * height > self.pixels:
            raise TooLargeError(f"{what} is {width}x{height}: more than {self.pixels} pixels are not read")
        if self.edge is not None and max(width, height) > self.edge:
            raise TooLargeError(f"{what} is {width}x{height}: edges of more than {self.edge} are not read")
        if width * height * channels * itemsize > self.bytes:
            raise TooLargeError(
                f"{what} is {width}x{height} with {counted(channels, 'channel')} of {itemsize} bytes: "
                f"more than {self.bytes} bytes are not read"
            )

    def check_channels(self, what: str, shape: Sequence[int]) -> None:
        """Compare the channels of ``(H, W)`` or ``(H, W, C)``; raises :class:`DatasetError`."""
        channels = shape[2] if len(shape) == 3 else 1
        if self.channels is None or channels == self.channels:
            return
        hint = None
        if len(shape) == 3 and shape[0] == self.channels:
            hint = f"its shape is {tuple(shape)}: save it as (H, W, C), numpy.moveaxis(array, 0, -1)"
        raise DatasetError(
            f"{what} has {counted(channels, 'channel')}, the network takes {self.channels}", hint=hint
        )

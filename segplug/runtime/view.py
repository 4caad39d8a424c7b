"""Make an 8-bit colour picture of any image, to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.preprocessing import Decoding

__all__ = ["Viewer"]

_SAMPLE = 1 << 20
"""Pixels of an image from which the percentiles are computed, at most about four times as many."""

_LOW, _HIGH = 2, 98
"""Percentiles of an image that is not 8-bit that become black and white."""


class Viewer:
    """Shows one or three channels of an image.

    Images of 8 bits are shown as they are. Of other types, the values between the 2nd and the 98th
    percentile of the channels that are shown are stretched over 0 to 255. Pixels that are masked are black.

    Args:
        decoding: How the images were decoded: it says which channels are blue, green and red.
        bands: Numbers of one channel, or of those to show as red, green and blue, from 1, in the order of the
            file. Default: the first three; of one or two channels the first, in grey.
        channels: Channels of the images, if they are known.

    Raises:
        UsageError: there are not one or three bands, or one of them is not there.
    """

    def __init__(
        self, decoding: Decoding, bands: Sequence[int] | None = None, *, channels: int | None = None
    ) -> None:
        if bands is not None and len(bands) not in (1, 3):
            raise UsageError(
                f"{len(bands)} bands are given", hint="give one (grey) or three (red, green, blue)"
            )
        self._bands = None if bands is None else tuple(bands)
        self._bgr = decoding.gives_bgr
        if channels is not None:
            self._check(channels)

    def __call__(self, image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The picture.

        Args:
            image: ``(H, W, C)`` of any numeric type, or a masked array of it; not changed.

        Returns:
            uint8 ``(H, W, 3)``, BGR.
        """
        channels = image.shape[2]
        self._check(channels)
        if image.dtype == np.uint8 and channels == 3 and self._bgr and self._bands is None:
            plain: npt.NDArray[np.uint8] = np.ma.filled(image, 0)
            return plain
        bands = self._bands or ((1, 2, 3) if channels >= 3 else (1,))
        rgb = [self._place(band, channels) for band in bands]
        bgr = rgb[::-1] if len(rgb) == 3 else rgb * 3
        if image.dtype == np.uint8:
            return np.ascontiguousarray(np.ma.filled(image[:, :, bgr], 0))
        return _stretched(image, bgr)

    def _place(self, band: int, channels: int) -> int:
        """The channel of the array that is number ``band`` of the file."""
        return 3 - band if self._bgr and channels in (3, 4) and band <= 3 else band - 1

    def _check(self, channels: int) -> None:
        for band in self._bands or ():
            if not 1 <= band <= channels:
                there = "there is only band 1" if channels == 1 else f"there are bands 1 to {channels}"
                raise UsageError(f"band {band} is not there: {there}")


def _stretched(image: npt.NDArray[Any], channels: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Some channels as uint8 ``(H, W, len(channels))``, one at a time: images may be large."""
    step = max(math.isqrt(image.shape[0] * image.shape[1] // _SAMPLE), 1)
    sample = np.ma.masked_invalid(image[::step, ::step, channels].astype(np.float64)).compressed()
    low, high = np.percentile(sample, (_LOW, _HIGH)) if sample.size else (0.0, 1.0)
    factor = 255 / (high - low if high > low else 1.0)
    picture = np.empty((*image.shape[:2], len(channels)), np.uint8)
    for place, channel in enumerate(channels):
        plane = np.ma.masked_invalid(image[:, :, channel].astype(np.float32)).filled(low)
        plane -= np.float32(low)
        plane *= np.float32(factor)
        picture[:, :, place] = np.clip(np.rint(plane, out=plane), 0, 255, out=plane)
    return picture

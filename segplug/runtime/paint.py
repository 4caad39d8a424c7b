"""Paint label maps over images."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.palette import Palette

__all__ = ["Painter"]


_BLOCK = 1 << 18
"""Pixels that are painted at once: the indices of a whole image would take many times its memory."""


class Painter:
    """Blends a palette over images: ``image * (1 - opacity) + colour * opacity``, cut to uint8.

    The blend has 256 results for each colour and channel: they are computed once, and an image costs three
    table look-ups. Labels without a colour are black.

    Args:
        palette: RGB colours (0 to 255), one for each label.
        opacity: Weight of the colour, in (0, 1].
        unpainted: Labels whose pixels stay as they are.

    Raises:
        UsageError: the opacity is out of range.
    """

    def __init__(self, palette: Palette, *, opacity: float = 0.5, unpainted: Collection[int] = ()) -> None:
        if not 0 < opacity <= 1:
            raise UsageError(f"the opacity must be above 0 and at most 1, not {opacity}")
        bgr = np.array([*palette, (0, 0, 0)], dtype=np.float64)[:, ::-1]
        pixels = np.arange(256, dtype=np.float64)
        blended = pixels[None, None, :] * (1 - opacity) + bgr.T[:, :, None] * opacity
        blended[:, sorted(unpainted)] = pixels
        self._tables = blended.astype(np.uint8).reshape(3, -1)
        self._last = len(palette)

    def __call__(self, image: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Paint one image.

        Args:
            image: uint8 ``(H, W, 3)``, BGR; not changed.
            labels: Unsigned integer ``(H, W)``.

        Returns:
            uint8 ``(H, W, 3)``, BGR.
        """
        painted = np.empty(image.shape, np.uint8)
        rows = max(1, _BLOCK // max(1, image.shape[1]))
        for first in range(0, image.shape[0], rows):
            block = slice(first, first + rows)
            base = labels[block].astype(np.intp)  # first: of 256 colours, the last is no uint8
            np.minimum(base, self._last, out=base)
            base *= 256
            for channel, table in enumerate(self._tables):
                painted[block, :, channel] = table[base + image[block, :, channel]]
        return painted

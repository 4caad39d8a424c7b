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

_TABLED = 1 << 10
"""Colours whose blends are computed once: of the sets of 15 classes, they would take 25 MB."""


class Painter:
    """Blends a palette over images: ``image * (1 - opacity) + colour * opacity``, cut to uint8.

    The blend has 256 results for each colour and channel: of up to 1,024 colours they are computed once, and
    an image costs three table look-ups. Labels without a colour are black.

    Args:
        palette: RGB colours (0 to 255), one for each value of a label map
            (:attr:`segplug.palette.LabelColours.of_labels`).
        opacity: Weight of the colour, in (0, 1].
        unpainted: Labels whose pixels stay as they are.

    Raises:
        UsageError: the opacity is out of range.
    """

    def __init__(self, palette: Palette, *, opacity: float = 0.5, unpainted: Collection[int] = ()) -> None:
        if not 0 < opacity <= 1:
            raise UsageError(f"the opacity must be above 0 and at most 1, not {opacity}")
        bgr = np.array([*palette, (0, 0, 0)], dtype=np.float64)[:, ::-1]
        self._last = len(palette)
        self._added = np.ascontiguousarray(bgr.T) * opacity
        self._kept = np.full(len(bgr), 1 - opacity)
        left = sorted(unpainted)
        self._added[:, left], self._kept[left] = 0, 1
        self._tables: npt.NDArray[np.uint8] | None = None
        if len(bgr) <= _TABLED:
            pixels = np.arange(256, dtype=np.float64)
            blended = pixels * self._kept[:, None] + self._added[:, :, None]
            self._tables = blended.astype(np.uint8).reshape(3, -1)

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
            if self._tables is None:
                for channel, added in enumerate(self._added):
                    painted[block, :, channel] = image[block, :, channel] * self._kept[base] + added[base]
                continue
            base *= 256
            for channel, table in enumerate(self._tables):
                painted[block, :, channel] = table[base + image[block, :, channel]]
        return painted

"""Write label maps as PNG with a palette: the values are the labels, and viewers show the colours."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.runtime.libraries import pillow

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.palette import Palette

__all__ = ["indexed_png"]

_COLOURS = 256
"""Of a PNG's palette. With all of them, Pillow writes eight bits for each pixel, and not fewer."""


def indexed_png(labels: npt.NDArray[Any], palette: Palette, *, unknown: int = 255) -> bytes:
    """Encode a label map.

    Label maps have few labels in large regions: the fastest compression is nearly as small as the best.

    Args:
        labels: Unsigned integer ``(H, W)``.
        palette: One RGB colour (0 to 255) for each label; labels without a colour are black.
        unknown: The label of pixels that have no class.

    Returns:
        PNG of 8 bits with a palette. Of 16 bits, in grey, if there are more than 256 colours or ``unknown``
        or a label is above 255: PNG has no larger palette.
    """
    Image = pillow()
    fits = labels.dtype.itemsize == 1 or int(labels.max(initial=0)) < _COLOURS
    if fits and len(palette) <= _COLOURS and unknown < _COLOURS:
        picture = Image.fromarray(labels.astype(np.uint8, copy=False))
        black = ((0, 0, 0),) * (_COLOURS - len(palette))
        picture.putpalette([value for colour in (*palette, *black) for value in colour])
    else:
        picture = Image.fromarray(labels.astype(np.uint16, copy=False))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()

"""A picture of one image on which a backend and PyTorch differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.runtime.libraries import opencv
from segplug.runtime.paint import Painter

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.palette import Palette

__all__ = ["painted"]

_MARK = (0, 94, 213)
"""Vermilion (BGR), which colour-blind readers tell from the grey behind it."""

_WIDTH = 8.0
"""Of the whole picture, in inches: 1200 pixels."""

_QUALITY = 90
"""Of the JPEG: photographs are several times larger as PNG, and a page holds many of them."""


def painted(
    image: npt.NDArray[np.uint8],
    expected: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    *,
    palette: Palette,
    name: str,
    backend: str,
) -> bytes:
    """Image, both label maps painted over it, and where they differ, as a JPEG.

    Args:
        image: uint8 ``(H, W, 3)``, BGR.
        expected: PyTorch's labels ``(H, W)``.
        actual: The backend's.
        palette: RGB, one colour for each label.
        name: The image's.
        backend: What the other side is called.
    """
    from segplug_analysis.pictures import encode, new_figure

    differs = expected != actual
    count = int(np.count_nonzero(differs))
    title = f"difference: {count:,} of {differs.size:,} pixels, marks thickened"
    paint = Painter(palette, opacity=0.6)
    panels = {
        "image": image,
        "PyTorch": paint(image, expected),
        title: _marked(image, differs),
        backend: paint(image, actual),
    }
    height, width = differs.shape
    figure = new_figure(_WIDTH, _WIDTH * height / width + 1)
    figure.suptitle(name, fontsize=9, parse_math=False)
    places = figure.subplots(2, 2).flat
    for axes, (title, panel) in zip(places, panels.items(), strict=True):
        axes.imshow(panel[..., ::-1], interpolation="antialiased")
        axes.set_title(title, fontsize=8, parse_math=False)
        axes.set_axis_off()
    return _as_jpeg(encode(figure, "png"))


def _as_jpeg(png: bytes) -> bytes:
    cv2 = opencv()
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(content)


def _marked(image: npt.NDArray[np.uint8], differs: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The image in pale grey, with marks where labels differ: a single pixel would not be seen."""
    cv2 = opencv()
    side = max(differs.shape) // 120 + 1
    marks = cv2.dilate(differs.astype(np.uint8), np.ones((side, side), np.uint8))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) // 3 + 160
    shown: npt.NDArray[np.uint8] = np.repeat(grey[..., None], 3, axis=2)
    shown[marks > 0] = _MARK
    return shown

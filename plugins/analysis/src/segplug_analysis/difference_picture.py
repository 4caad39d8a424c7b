"""A picture of one image on which a backend and PyTorch differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.runtime.libraries import opencv
from segplug.runtime.paint import Painter

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.palette import Palette

__all__ = ["difference_picture"]

_MARK = (0, 94, 213)
"""Vermilion (BGR), which colour-blind readers can tell from grey."""

_WIDTH = 8.0
"""Width of the whole picture, in inches: 1200 pixels."""

_QUALITY = 90
"""Quality of the JPEG. As PNG, photographs would be several times larger, and a page has many."""


def difference_picture(
    image: npt.NDArray[np.uint8],
    expected: npt.NDArray[Any],
    actual: npt.NDArray[Any],
    *,
    palette: Palette,
    name: str,
    backend: str,
) -> bytes:
    """A JPEG of the image, both label maps painted over it, and the pixels where they differ.

    Args:
        image: uint8 ``(H, W, 3)``, BGR.
        expected: PyTorch's labels ``(H, W)``.
        actual: The backend's.
        palette: RGB, one colour for each label.
        name: The image's.
        backend: Name of the backend.
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
        axes.set(xticks=[], yticks=[])  # ticks that are not drawn still cost time in the layout
        axes.set_axis_off()
    return _as_jpeg(encode(figure, "png"))


def _as_jpeg(png: bytes) -> bytes:
    cv2 = opencv()
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(content)


def _marked(image: npt.NDArray[np.uint8], differs: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The image in pale grey with marks where labels differ, thick enough to show single pixels."""
    cv2 = opencv()
    side = max(differs.shape) // 120 + 1
    marks = cv2.dilate(differs.astype(np.uint8), np.ones((side, side), np.uint8))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) // 3 + 160
    shown: npt.NDArray[np.uint8] = np.repeat(grey[..., None], 3, axis=2)
    shown[marks > 0] = _MARK
    return shown

"""The pictures of one image on the page of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.reports.document import Picture
from segplug.runtime.image_reader import split_masked
from segplug.runtime.libraries import opencv
from segplug.runtime.postprocess import mark_ignored

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.runtime.drawing import Drawer, Part
    from segplug.sink import RunContext

__all__ = ["image_pictures"]

_SIDE = 640
"""The longer side of a picture, at most, in pixels."""

_QUALITY = 82
"""Of the JPEG. As PNG, photographs would be several times larger, and a page has many."""


def image_pictures(
    index: int, labels: npt.NDArray[Any], parts: tuple[Part, ...], drawer: Drawer, run: RunContext
) -> tuple[Picture, ...]:
    """One JPEG for each part, made small before it is painted.

    Args:
        index: The image.
        labels: Its label map, unsigned integer ``(H, W)``.
        parts: What ``drawer`` draws.
        drawer: Draws them.
        run: The run.

    Raises:
        DatasetError: the image or its mask cannot be read any more.
    """
    dataset = run.dataset
    original = dataset.read_image(index, run.meta.decoding)
    nodata = split_masked(original).nodata
    mask = dataset.read_mask(index) if dataset.info.has_masks else None
    if mask is not None and nodata is not None:
        mask = mark_ignored(mask, nodata, dataset.info.ignore_index)
    image = drawer.view(original)
    panels = drawer.panels(
        _smaller(image, smooth=True), _smaller(labels), None if mask is None else _smaller(mask)
    )
    name = dataset.name(index)
    return tuple(
        Picture(part, _jpeg(panel), "image/jpeg", alt=f"{name}: {part}")
        for part, panel in zip(parts, panels, strict=True)
    )


def _smaller(image: npt.NDArray[Any], *, smooth: bool = False) -> npt.NDArray[Any]:
    cv2 = opencv()
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    resized: npt.NDArray[Any] = cv2.resize(
        image, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST
    )
    return resized


def _jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    cv2 = opencv()
    _, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(content)

"""Sizes of images, from the file's header where possible: decoding takes longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.regular_files import open_regular
from segplug.runtime.libraries import pillow
from segplug.runtime.reading import is_tiff

if TYPE_CHECKING:
    from segplug.dataset import Dataset
    from segplug.preprocessing import Decoding
    from segplug.runtime.sizes import Size

__all__ = ["size_in_header", "size_of_image"]

_ORIENTATION = 0x0112
"""The EXIF tag of the orientation. From 5 on, height and width are swapped."""
_TIFFFILE = ("bands", "tifffile")
"""The decodings that read a TIFF with tifffile."""
_SIGNATURE = 4
"""Bytes that tell a TIFF from other formats."""
_TURNS = ("color", "grayscale")
"""The decodings that turn an image as its orientation says."""


def size_in_header(dataset: Dataset, index: int, decoding: Decoding) -> Size | None:
    """(Height, width) from the file's header; ``None``: there is no file, or Pillow does not decode it."""
    find = getattr(dataset, "image_path", None)
    if find is None:
        return None
    try:
        with open_regular(find(index)) as file:
            if decoding.library in _TIFFFILE and is_tiff(file.read(_SIGNATURE)):
                return None  # Pillow prints a message where a TIFF has more than a few bands
            file.seek(0)
            image = pillow().open(file)
            width, height = image.size
            turned = decoding.color in _TURNS and image.getexif().get(_ORIENTATION, 1) >= 5
    except Exception:  # reading the image reports the problem better
        return None
    return (width, height) if turned else (height, width)


def size_of_image(dataset: Dataset, index: int, decoding: Decoding) -> Size:
    """(Height, width) of the decoded image; raises :class:`DatasetError` if it cannot be read."""
    height, width = dataset.read_image(index, decoding).shape[:2]
    return height, width

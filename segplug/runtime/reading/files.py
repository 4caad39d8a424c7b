"""Read image and mask files as mmcv does by default: images with OpenCV, masks with Pillow."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import DatasetError
from segplug.runtime.libraries import opencv, pillow

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["MAX_PIXELS", "TooLargeError", "decode_image", "label_table", "read_image", "read_mask"]

MAX_PIXELS = 178_956_970
"""Larger images and masks are refused before they are decoded: a small file can hold a huge image.
This is Pillow's own limit, too."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_JPEG = b"\xff\xd8"
_SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(re.escape(_PNG)),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II\*\x00|MM\x00\*"),
}
_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)


class TooLargeError(DatasetError):
    """An image or mask has too many pixels, or too long an edge."""


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Decode an image file.

    Returns:
        uint8 ``(H, W, 3)``, BGR, turned as its EXIF orientation says; alpha is dropped, grey is
        repeated, 16 bits become 8.

    Raises:
        DatasetError: the file is missing, empty, cut off, too large, or no image.
    """
    return decode_image(_bytes_of(path, "image"), str(path))


def decode_image(
    content: bytes, name: str, *, most_pixels: int = MAX_PIXELS, longest_edge: int | None = None
) -> npt.NDArray[np.uint8]:
    """Decode an encoded image that is already in memory; see :func:`read_image`.

    Args:
        content: The whole file.
        name: The name of the image in messages.
        most_pixels: Larger images are refused by their header, before they are decoded.
        longest_edge: Largest height or width in pixels. If it is set, only JPEG, PNG, WebP, BMP and TIFF are
            read: for other formats the library that reads the header may differ from the one that decodes.

    Raises:
        TooLargeError: the image has more pixels, or a longer edge.
    """
    cv2 = opencv()
    if _is_cut_off(content):
        raise DatasetError(f"the image {name} is damaged: the file is cut off")
    _refuse_too_large(content, f"the image {name}", most_pixels, longest_edge)
    try:
        image: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DatasetError(f"the image {name} cannot be decoded: {error.err or error}") from error
    if image is None:
        raise DatasetError(f"{name} is not an image, or is damaged")
    pixels: npt.NDArray[np.uint8] = image
    return pixels


def read_mask(path: Path) -> npt.NDArray[np.uint8]:
    """Decode a mask file as it is stored: palette indices stay indices.

    Returns:
        uint8 ``(H, W)``. Of wider types, values up to 255 are read, and "all bits set" (-1, 65535), which
        becomes 255, the usual "ignore".

    Raises:
        DatasetError: the file is missing, empty, cut off, too large or no image; it has more than
            one channel; or it holds a value that does not fit into a byte.
    """
    Image = pillow()
    content = _bytes_of(path, "mask")
    _refuse_too_large(content, f"the mask {path}")
    try:
        with Image.open(io.BytesIO(content)) as picture:
            mode, stored = picture.mode, np.array(picture)
    except Exception as error:  # Pillow's decoders raise almost anything for a damaged file
        raise DatasetError(f"the mask {path} is not an image, or is damaged: {error}") from error
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = stored[:, :, 0]
    if stored.ndim != 2:
        raise DatasetError(
            f"the mask {path} has {stored.shape[-1]} channels ({mode})",
            hint="a mask has one channel that holds class indices",
        )
    if stored.dtype == np.uint8:
        return stored
    mask = stored.astype(np.uint8)
    misread = stored[(mask != stored) & (mask != 255)]
    if misread.size:
        raise DatasetError(f"the mask {path} holds {misread[0]}, which is no label of a byte (0 to 255)")
    return mask


def label_table(
    label_map: Mapping[int, int] | None = None, *, reduce_zero_label: bool = False
) -> npt.NDArray[np.uint8] | None:
    """The table that turns stored mask values into labels: ``labels = table[mask]``.

    Args:
        label_map: Stored value to label; a negative label becomes 255.
        reduce_zero_label: Then 0 becomes 255, 255 stays, and all others are lowered by one.

    Returns:
        uint8 ``(256,)``, or ``None`` if masks hold labels already.
    """
    if not label_map and not reduce_zero_label:
        return None
    table = np.arange(256, dtype=np.uint8)
    for stored, label in (label_map or {}).items():
        table[stored] = label if label >= 0 else 255
    if reduce_zero_label:
        table = np.where((table == 0) | (table == 255), 255, table - 1).astype(np.uint8)
    return table


def _bytes_of(path: Path, kind: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(f"the {kind} {path} does not exist") from error
    except OSError as error:
        raise DatasetError(f"the {kind} {path} cannot be read: {error.strerror or error}") from error
    if not content:
        raise DatasetError(f"the {kind} {path} is empty")
    return content


def _refuse_too_large(
    content: bytes, what: str, most_pixels: int = MAX_PIXELS, longest_edge: int | None = None
) -> None:
    """Check the size in the header. Formats that Pillow does not know are left to OpenCV's own limit."""
    known = _usual_format(content)
    if longest_edge is not None and known is None:
        raise DatasetError(f"{what} is damaged, or of no known format: {', '.join(_SIGNATURES)} are")
    width, height = _png_size(content) or _other_size(content, known)
    if longest_edge is not None and not width:
        raise DatasetError(f"{what} is damaged")
    if width * height > most_pixels:
        raise TooLargeError(f"{what} is {width}x{height}: more than {most_pixels} pixels are not read")
    if longest_edge is not None and max(width, height) > longest_edge:
        raise TooLargeError(f"{what} is {width}x{height}: edges of more than {longest_edge} are not read")


def _png_size(content: bytes) -> tuple[int, int] | None:
    if not content.startswith(_PNG) or len(content) < 24:
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def _usual_format(content: bytes) -> str | None:
    return next((name for name, signature in _SIGNATURES.items() if signature.match(content)), None)


def _other_size(content: bytes, known: str | None) -> tuple[int, int]:
    Image = pillow()
    try:
        # Choose the format by the signature, as OpenCV does: Pillow alone may choose another one.
        with Image.open(io.BytesIO(content), formats=None if known is None else [known]) as picture:
            size: tuple[int, int] = picture.size
            return size
    except Image.DecompressionBombError:
        return MAX_PIXELS + 1, 1
    except Exception:  # Pillow cannot read it: OpenCV's decoder decides
        return 0, 0


def _is_cut_off(content: bytes) -> bool:
    """Whether a PNG or JPEG ends too early. Older OpenCV fills the rest with grey without an error."""
    if content.startswith(_PNG):
        return _PNG_END not in content[-1024:] and _PNG_END not in content
    if content.startswith(_JPEG) and not content.endswith(b"\xff\xd9"):
        return not _has_jpeg_end(content)
    return False


def _has_jpeg_end(content: bytes) -> bool:
    """Go through the segments, so that the end of an embedded thumbnail does not count as the image's end."""
    position = len(_JPEG)
    while marker := _JPEG_MARKER.search(content, position):
        if content[marker.end() - 1] == 0xD9:
            return True
        length = int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        position = marker.end() + max(length, 2)
    return False

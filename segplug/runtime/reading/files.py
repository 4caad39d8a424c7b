"""Read image and mask files, and encoded images in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import DatasetError
from segplug.preprocessing import Decoding
from segplug.regular_files import open_regular
from segplug.runtime.reading.limits import MAX_BYTES, MAX_PIXELS, Limits, TooLargeError
from segplug.runtime.reading.masks import decode_mask
from segplug.runtime.reading.npy import decode_npy, is_npy
from segplug.runtime.reading.tiff import decode_tiff
from segplug.runtime.reading.tiff_header import is_tiff
from segplug.runtime.reading.usual import decode_usual

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["decode_image", "read_image", "read_mask"]


def read_image(path: Path, decoding: Decoding, *, channels: int | None = None) -> npt.NDArray[Any]:
    """Decode an image file.

    Args:
        path: The file.
        decoding: How it becomes an array. A ``.npy`` file holds an array already, whatever the decoding.
        channels: The number of channels that the image must have; ``None``: any.

    Returns:
        ``(H, W, C)``, C-contiguous, in the machine's byte order, of the type and channels that
        :class:`~segplug.preprocessing.Decoding` describes; ``(H, W)`` becomes ``(H, W, 1)``. It is a
        :class:`numpy.ma.MaskedArray` if a GeoTIFF has pixels of its nodata value, and the decoding keeps the
        file's values. Masked values that are NaN, infinite or above 1e30 are replaced by 0; others stay.

    Raises:
        TooLargeError: it has more than :data:`MAX_PIXELS` pixels or 4 GiB.
        DatasetError: the file is missing, empty, cut off, or no image that the decoding reads; or it has
            another number of channels.
        MissingDependencyError: a library is not installed.
    """
    return decode_image(_bytes_of(path, "image"), str(path), decoding, channels=channels)


def decode_image(
    content: bytes,
    name: str,
    decoding: Decoding,
    *,
    channels: int | None = None,
    most_pixels: int = MAX_PIXELS,
    longest_edge: int | None = None,
    most_bytes: int = MAX_BYTES,
) -> npt.NDArray[Any]:
    """Decode an encoded image that is already in memory; see :func:`read_image`.

    Args:
        content: The whole file.
        name: The name of the image in messages.
        decoding: How it becomes an array.
        channels: The number of channels that the image must have. ``.npy`` files, and TIFF files that
            tifffile decodes, are refused by their header.
        most_pixels: Larger images are refused by their header, before they are decoded.
        longest_edge: Largest height or width in pixels. If it is set, only JPEG, PNG, WebP, BMP, TIFF and
            ``.npy`` are read: for other formats the library that reads the header may differ from the one
            that decodes. For the same reason tifffile then decodes no TIFF with JPEG and the like inside.
        most_bytes: Larger arrays in TIFF and ``.npy`` files are refused by their header. Other formats have
            at most 8 bytes for each pixel.

    Raises:
        TooLargeError: the image has more pixels or bytes, or a longer edge.
    """
    what = f"the image {name}"
    limits = Limits(most_pixels, longest_edge, channels, most_bytes)
    if is_npy(content):
        image = decode_npy(content, what, limits)
    elif decoding.loader is not None:
        raise DatasetError(
            f"{what} can be read by the model's own loader {decoding.loader} only",
            hint=f"save what {decoding.loader} gives as .npy, or run with --dataset CONFIG",
        )
    elif decoding.library in ("bands", "tifffile") and is_tiff(content):
        image = decode_tiff(content, what, decoding.library, limits)
    elif decoding.library == "tifffile":
        raise DatasetError(f"{what} is no TIFF, which is what the model's images are read from")
    else:
        image = decode_usual(content, what, decoding, limits)
    limits.check_channels(what, image.shape)
    return image if image.ndim == 3 else image[:, :, None]


def read_mask(path: Path, *, wide: bool = False, nodata: bool = True) -> npt.NDArray[Any]:
    """Decode a mask file as it is stored: palette indices stay indices. It may be a ``.npy`` file.

    Args:
        path: The file.
        wide: Whether labels above 255 are used.
        nodata: Whether the nodata value of a GeoTIFF counts, if it cannot be a class (-9999, NaN, 255). One
            that can, such as 0, is a label like others: masks often have the tag of their images.

    Returns:
        ``(H, W)``: uint8, or uint16 if ``wide``. "All bits set" of a type wider than a byte (-1, 65535,
        4294967295) becomes 255, the usual "ignore", or 65535 if ``wide``. A :class:`numpy.ma.MaskedArray` if
        pixels have the nodata value; they hold 255 or 65535, too.

    Raises:
        DatasetError: the file is missing, empty, cut off, too large or no image; it has more than
            one channel; or it holds a value that is no label of this width.
    """
    return decode_mask(_bytes_of(path, "mask"), f"the mask {path}", wide=wide, nodata=nodata)


def _bytes_of(path: Path, kind: str) -> bytes:
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise TooLargeError(
                    f"the {kind} {path} has {size / 2**30:.1f} GiB: "
                    f"files of more than {MAX_BYTES >> 30} GiB are not read"
                )
            content = file.read()
    except FileNotFoundError as error:
        raise DatasetError(f"the {kind} {path} does not exist") from error
    except OSError as error:
        raise DatasetError(f"the {kind} {path} cannot be read: {error.strerror or error}") from error
    if not content:
        raise DatasetError(f"the {kind} {path} is empty")
    return content

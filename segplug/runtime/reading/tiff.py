"""Read TIFF files with tifffile: any number of channels, interleaved, in planes or in pages."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segplug.errors import DatasetError, MissingDependencyError, SegplugError, first_line
from segplug.runtime.libraries import TIFF_HINT, tifffile
from segplug.runtime.reading.limits import Limits
from segplug.runtime.reading.pixels import is_number, mask_missing, plain
from segplug.runtime.reading.tiff_header import check_pages, read_header

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["decode_tiff"]

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else it prints warnings of its own

_REDUCED_OR_MASK = 1 | 4
"""Of NewSubfileType: a smaller copy of another page, or its mask."""
_BOUNDED = frozenset((1, 5, 8, 32773, 32946, 50000))
"""Compressions that give no more than they are asked for: none, LZW, Deflate, PackBits and Zstandard. Others
hold whole images with headers of their own."""
_MOST_SEGMENTS = 1 << 21
"""Offsets and sizes of strips and tiles; each takes tifffile about 10 µs. A server reads a 16th of them."""
_SPARE_BYTES = 1 << 26
"""A tile may be larger than a small image, up to this."""


def decode_tiff(
    content: bytes, what: str, library: Literal["tifffile", "bands"], limits: Limits
) -> npt.NDArray[Any]:
    """Decode a TIFF or BigTIFF file.

    Args:
        content: The whole file.
        what: The image, for messages.
        library: ``tifffile``: what ``tifffile.imread`` gives. ``bands``: the channels last, in the order of
            the file. These are the channels of the first page, interleaved or in planes; if it has one, then
            those of all pages of its size. Smaller copies and masks are left out. Of a palette image the
            indices are read.
        limits: What the image may be. With ``limits.edge``, compressions are refused whose memory is not
            known before they are decoded, such as JPEG.

    Returns:
        ``(H, W)`` or ``(H, W, C)``, C-contiguous, of the file's own type in the machine's byte order (one bit
        becomes uint8); masked where a GeoTIFF has no data.

    Raises:
        DatasetError: it is damaged or cut off, is no image, or has another number of channels.
        TooLargeError: it is too large.
        MissingDependencyError: tifffile is missing, or imagecodecs for a compressed file.
    """
    header = read_header(content, what)
    if header.dtype is None:
        raise DatasetError(f"{what} holds complex or very wide numbers, which are not read")
    check_pages(content, what, _MOST_SEGMENTS if limits.edge is None else _MOST_SEGMENTS >> 4)
    module = tifffile()
    # The formats of vendors arrange pages by metadata of their own; for bands the pages alone count.
    kinds = module.TIFF.FILE_FLAGS if library == "bands" else ()
    flags = {f"is_{kind}": False for kind in kinds if kind != "shaped"}
    try:
        with module.TiffFile(io.BytesIO(content), _multifile=False, **flags) as file:
            if library == "bands":
                image = _bands(file.series, what, limits, len(content))
            else:
                image = _as_stored(file.series[0], what, limits, len(content))
    except SegplugError:
        raise
    except Exception as error:  # tifffile raises almost anything for a damaged file
        raise DatasetError(
            f"{what} is damaged, or no TIFF that tifffile reads: {first_line(error)}"
        ) from error
    return mask_missing(image, header.nodata)


def _as_stored(series: Any, what: str, limits: Limits, size: int) -> npt.NDArray[Any]:
    shape = _shape(series)
    if len(shape) not in (2, 3):
        raise DatasetError(f"{what} has the shape {shape}: (H, W) or (H, W, C) is expected")
    limits.check(what, shape, series.dtype.itemsize)
    return _read(series, what, limits, size)


def _bands(all_series: Sequence[Any], what: str, limits: Limits, size: int) -> npt.NDArray[Any]:
    found = [each for each in all_series if not int(each.keyframe.subfiletype) & _REDUCED_OR_MASK]
    series = found or list(all_series)
    orders = [_order(each, what, limits.channels) for each in series]
    shapes = [tuple(_shape(each)[axis] for axis in order) for each, order in zip(series, orders, strict=True)]
    same = [index for index, shape in enumerate(shapes) if shape[:2] == shapes[0][:2]]
    if len(same) == 1:
        limits.check(what, shapes[0], series[0].dtype.itemsize)
        return _arranged(_read(series[0], what, limits, size), orders[0], shapes[0])
    if any(len(shapes[index]) == 3 for index in same):
        raise DatasetError(f"{what} holds {len(same)} images of several channels: which one is not said")
    dtypes = {series[index].dtype.name for index in same}
    if len(dtypes) > 1:
        raise DatasetError(f"the pages of {what} have different types: {', '.join(sorted(dtypes))}")
    limits.check(what, (*shapes[0], len(same)), series[0].dtype.itemsize)
    pages = (
        _arranged(_read(series[index], what, limits, size), orders[index], shapes[index]) for index in same
    )
    first = next(pages)
    image: npt.NDArray[Any] = np.empty((*shapes[0], len(same)), first.dtype)
    image[..., 0] = first
    for channel, page in enumerate(pages, 1):
        image[..., channel] = page
    return image


def _order(series: Any, what: str, channels: int | None) -> tuple[int, ...]:
    """Which axes are the rows, the columns and the channels; other axes have the length 1."""
    axes, shape = str(series.axes), _shape(series)
    more = [axis for axis, letter in enumerate(axes) if letter not in "YX" and shape[axis] > 1]
    if len(axes) != len(shape) or axes.count("Y") != 1 or axes.count("X") != 1 or len(more) > 1:
        raise DatasetError(f"{what} has the axes {axes} {shape}, not rows, columns and channels alone")
    rows, columns = axes.index("Y"), axes.index("X")
    if series.kind == "shaped" and more and axes[more[0]] == "Q" and more[0] < rows < columns:
        # tifffile.imwrite makes a page of each row of an array (H, W, C) if it is not told what the axes are.
        first, last = shape[more[0]], shape[columns]
        is_last = last == channels if (first == channels) != (last == channels) else last < first
        if is_last:
            return more[0], rows, columns
    return rows, columns, *more


def _shape(series: Any) -> tuple[int, ...]:
    return tuple(map(int, series.shape))


def _arranged(array: npt.NDArray[Any], order: tuple[int, ...], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    rest = [axis for axis in range(array.ndim) if axis not in order]
    return np.ascontiguousarray(array.transpose(*order, *rest).reshape(shape))


def _read(series: Any, what: str, limits: Limits, size: int) -> npt.NDArray[Any]:
    """The array of a series whose shape has been checked, in the file's order of axes."""
    if not is_number(series.dtype):
        raise DatasetError(f"{what} holds {series.dtype}, not plain numbers")
    _check_segments(series, what, limits, size)
    array = plain(series.asarray(maxworkers=1))
    if array.shape != _shape(series):
        raise DatasetError(f"{what} is damaged: its pages do not have the shape {_shape(series)}")
    return array


def _check_segments(series: Any, what: str, limits: Limits, size: int) -> None:
    """Refuse strips and tiles that lie outside the file, or that take far more memory than the image."""
    page = series.keyframe
    compression = int(page.compression)
    if compression != 1 and find_spec("imagecodecs") is None:
        raise MissingDependencyError(
            f"{what} is compressed ({page.compression.name}): reading it needs imagecodecs", hint=TIFF_HINT
        )
    if limits.edge is not None and compression not in _BOUNDED:
        raise DatasetError(f"{what} is compressed with {page.compression.name}, which is not read here")
    if compression == 1 and series.dataoffset is not None:
        if series.dataoffset + series.nbytes > size:
            raise DatasetError(f"{what} is damaged: the file is cut off")
        return
    segment = math.prod(map(int, page.chunks)) * series.dtype.itemsize
    if segment > max(_SPARE_BYTES, 2 * series.nbytes):
        raise DatasetError(f"{what} is damaged: its tiles are larger than the image")
    expected = math.prod(map(int, page.chunked))
    for each in series:
        if len(each.dataoffsets) < (expected if compression != 1 else 1):
            raise DatasetError(f"{what} is damaged: strips or tiles are missing")
        for offset, length in zip(each.dataoffsets, each.databytecounts, strict=True):
            if offset + length > size:
                raise DatasetError(f"{what} is damaged: the file is cut off")
            if length > 2 * segment + _SPARE_BYTES // 1024:
                raise DatasetError(f"{what} is damaged: a compressed tile is larger than the tile")

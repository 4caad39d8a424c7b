"""Read masks as they are stored, with Pillow as mmcv does by default, and more types than bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import DatasetError, first_line
from segplug.runtime.libraries import pillow
from segplug.runtime.reading.format_names import not_read
from segplug.runtime.reading.limits import Limits
from segplug.runtime.reading.npy import decode_npy, is_npy
from segplug.runtime.reading.pixels import find_missing, plain
from segplug.runtime.reading.tiff import decode_tiff
from segplug.runtime.reading.usual import check_usual
from segplug.text import counted

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["decode_mask", "label_table"]

_MIN_IS_WHITE = 0
"""A photometric interpretation whose values Pillow inverts."""
_ALL_BITS = (-1, 65535, 4294967295)
"""What "no class" is in types that are wider than a byte."""


def decode_mask(content: bytes, what: str, *, wide: bool, nodata: bool) -> npt.NDArray[Any]:
    """Decode an encoded mask that is already in memory; see :func:`segplug.runtime.reading.read_mask`.

    Args:
        content: The whole file.
        what: The mask, for messages: ``the mask a.png``.
        wide: As for ``read_mask``.
        nodata: As for ``read_mask``.
    """
    stored, missing = _stored(content, what, 65535 if wide else 255)
    if not nodata:
        missing = None
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = stored[:, :, 0]
        missing = None if missing is None else missing[:, :, 0]
    if stored.ndim != 2:
        raise DatasetError(
            f"{what} has {counted(stored.shape[-1], 'channel')}",
            hint="a mask has one channel that holds class indices",
        )
    ignored = 65535 if wide else 255
    if stored.dtype == np.uint8:
        mask: npt.NDArray[Any] = stored.astype(np.uint16) if wide else stored
    else:
        mask = _labels(stored, what, missing, wide=wide)
    if missing is None or not missing.any():
        return mask
    mask[missing] = ignored
    return np.ma.MaskedArray(mask, missing)


def label_table(
    label_map: Mapping[int, int] | None = None, *, reduce_zero_label: bool = False, wide: bool = False
) -> npt.NDArray[Any] | None:
    """The table that turns stored mask values into labels: ``labels = table[mask]``.

    Args:
        label_map: Stored value to label; a negative label becomes the ignored one.
        reduce_zero_label: Then 0 becomes the ignored label, which stays, and all others are lowered by one.
        wide: Whether masks are uint16, and the ignored label is 65535; else uint8 and 255.

    Returns:
        uint8 ``(256,)``, or uint16 ``(65536,)`` if ``wide``; ``None`` if masks hold labels already.
    """
    if not label_map and not reduce_zero_label:
        return None
    dtype = np.uint16 if wide else np.uint8
    ignored = int(np.iinfo(dtype).max)
    table: npt.NDArray[Any] = np.arange(ignored + 1, dtype=dtype)
    for stored, label in (label_map or {}).items():
        table[stored] = label if label >= 0 else ignored
    if reduce_zero_label:
        table = np.where((table == 0) | (table == ignored), ignored, table - 1).astype(dtype)
    return table


def _stored(content: bytes, what: str, ignored: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """The values of the file, and where it has none. A nodata value that is a label counts as a label."""
    if is_npy(content):
        return decode_npy(content, what, Limits()), None
    header = check_usual(content, what, Limits())
    Image = pillow()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            stored = plain(np.array(picture))
    except Exception as error:  # Pillow's decoders raise almost anything for a damaged file
        if header is None:
            detail = "" if isinstance(error, Image.UnidentifiedImageError) else f": {first_line(error)}"
            raise not_read(content, what, "which Pillow does not read") or DatasetError(
                f"{what} is not an image, or is damaged{detail}"
            ) from error
    else:
        if header is None or header.photometric == _MIN_IS_WHITE or _is_label(header.nodata, ignored):
            return stored, None
        return stored, find_missing(stored, header.nodata)
    # Of a type or compression that Pillow does not know.
    masked = decode_tiff(content, what, "bands", Limits())
    values = np.ma.getdata(masked)
    if not np.ma.isMaskedArray(masked) or _is_label(header.nodata, ignored):
        return values, None
    return values, np.ma.getmaskarray(masked)


def _is_label(nodata: str | None, ignored: int) -> bool:
    """Whether a nodata value may be a class: masks often have the tag of their images, where 0 is no data."""
    try:
        value = float(nodata or "nan")
    except ValueError:
        return False
    return 0 <= value < ignored and value.is_integer()


def _labels(
    stored: npt.NDArray[Any], what: str, missing: npt.NDArray[np.bool_] | None, *, wide: bool
) -> npt.NDArray[Any]:
    dtype = np.uint16 if wide else np.uint8
    with np.errstate(invalid="ignore"):
        mask: npt.NDArray[Any] = stored.astype(dtype)
    other = mask != stored
    if missing is not None:
        other &= ~missing
    if other.any():
        values = stored[other]
        unknown = values[~np.isin(values, _ALL_BITS)]
        if unknown.size:
            most = np.iinfo(dtype).max
            raise DatasetError(
                f"{what} holds {unknown[0]}, which is no label from 0 to {most}",
                hint=None if wide else "a data set may have wider labels if its ignore_index is above 255",
            )
        mask[other] = np.iinfo(dtype).max
    return mask

"""The values of an image: plain numbers, and those that stand for no data (GDAL_NODATA of a GeoTIFF)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["find_missing", "is_number", "mask_missing", "plain"]

_LARGEST = 1e30
"""GDAL's usual value for float32 is its lowest one, -3.4e38, which overflows as soon as it is normalised."""


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether a pixel may be of this type: an integer or float of at most 8 bytes, or a bool."""
    return dtype.kind in "uifb" and dtype.itemsize <= 8


def plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array C-contiguous and in the machine's byte order; bool becomes uint8, all else keeps its type."""
    dtype = np.dtype(np.uint8) if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, dtype)


def find_missing(array: npt.NDArray[Any], nodata: str | None) -> npt.NDArray[np.bool_] | None:
    """Where an array has no data.

    Args:
        array: Values as they are stored.
        nodata: The text of the tag; ``None``: there is none.

    Returns:
        Of the array's shape; ``None`` if all values are data, also because the tag holds no value that the
        array's type can have.
    """
    value = None if nodata is None else _value(nodata, array.dtype)
    if value is None:
        return None
    missing: npt.NDArray[np.bool_] = np.isnan(array) if value != value else array == value
    return missing if missing.any() else None


def mask_missing(image: npt.NDArray[Any], nodata: str | None) -> npt.NDArray[Any]:
    """Mask the values without data.

    Returns:
        ``image``, or a :class:`numpy.ma.MaskedArray` over it. Masked values that are NaN, infinite or above
        1e30 are replaced by 0, since a network cannot take them; others stay.
    """
    missing = find_missing(image, nodata)
    if missing is None:
        return image
    value = image[missing][0]
    if not abs(value) <= _LARGEST:
        image[missing] = 0
    return np.ma.MaskedArray(image, mask=missing)


def _value(text: str, dtype: np.dtype[Any]) -> Any:
    """The value in the array's type; ``None``: it is no number, or the type does not have it."""
    try:
        number = float(text)
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                value = dtype.type(number)
            return None if math.isfinite(number) and not np.isfinite(value) else value
        whole = int(text) if text.lstrip("+-").isdigit() else int(number)
        info = np.iinfo(dtype)
        return dtype.type(whole) if float(whole) == number and info.min <= whole <= info.max else None
    except (ValueError, OverflowError):  # no number; NaN or infinity for an integer
        return None

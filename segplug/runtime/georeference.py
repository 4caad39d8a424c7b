"""Label maps as GeoTIFF, which lie where their images lie."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import DatasetError, first_line
from segplug.runtime.libraries import rasterio, tifffile

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["encode_label_tif"]

_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
"""Pixel scale, tie points, transformation, the three tags of GeoKeys, and RPC coefficients."""
_NODATA, _ASCII = 42113, 2


def encode_label_tif(labels: npt.NDArray[Any], *, source: Path | None, ignored: int | None) -> bytes:
    """Encode a label map as a TIFF file with Deflate compression, with the georeference of its image.

    With rasterio, the coordinate system and the transform, ground control points or RPCs of any image that
    GDAL opens are kept, also from a world file beside it; without it the tags of a GeoTIFF, through tifffile.

    Args:
        labels: uint8 or uint16 ``(H, W)``.
        source: The file of the image; ``None``: there is none. A file without a georeference, or of another
            size, gives none.
        ignored: The label that means "no data", written as the nodata value; ``None``, or a value that the
            type does not have: no nodata value.

    Returns:
        The file.

    Raises:
        MissingDependencyError: neither rasterio nor tifffile is installed.
        DatasetError: the file cannot be encoded.
    """
    if ignored is not None and not 0 <= ignored <= np.iinfo(labels.dtype).max:
        ignored = None
    module = rasterio()
    if module is None:
        return _with_tifffile(labels, source, ignored)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", module.errors.NotGeoreferencedWarning)
            return _with_rasterio(module, labels, source, ignored)
    except module.errors.RasterioError as error:
        raise DatasetError(f"the label map of {source} cannot be encoded: {first_line(error)}") from error


def _with_rasterio(module: Any, labels: npt.NDArray[Any], source: Path | None, ignored: int | None) -> bytes:
    place = {} if source is None else _place(module, source, labels.shape)
    height, width = labels.shape
    with module.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=height,
            width=width,
            count=1,
            dtype=labels.dtype.name,
            nodata=ignored,
            compress="deflate",
            bigtiff="if_safer",
        ) as file:
            for attribute, value in place.items():
                setattr(file, attribute, value)
            file.write(labels, 1)
        return bytes(memory.read())


def _place(module: Any, source: Path, shape: tuple[int, ...]) -> dict[str, Any]:
    """Attributes of a rasterio data set that say where an image lies; none if it does not say it."""
    try:
        with module.open(source) as image:
            if image.shape != shape:
                return {}
            points, system = image.gcps
            place = {"gcps": (points, system)} if points else {"crs": image.crs, "transform": image.transform}
            if not points and image.transform.is_identity:
                del place["transform"]
            place["rpcs"] = image.rpcs
            return {attribute: value for attribute, value in place.items() if value is not None}
    except module.errors.RasterioIOError:  # no format of GDAL, such as .npy
        return {}


def _with_tifffile(labels: npt.NDArray[Any], source: Path | None, ignored: int | None) -> bytes:
    module = tifffile()
    tags = [] if source is None else _geo_tags(module, source, labels.shape)
    if ignored is not None:
        tags.append((_NODATA, _ASCII, 0, str(ignored), True))
    file = io.BytesIO()
    module.imwrite(file, labels, photometric="minisblack", compression="zlib", metadata=None, extratags=tags)
    return file.getvalue()


def _geo_tags(module: Any, source: Path, shape: tuple[int, ...]) -> list[tuple[Any, ...]]:
    try:
        with module.TiffFile(source) as file:
            page = file.pages.first
            if (page.imagelength, page.imagewidth) != shape:
                return []
            found = [page.tags[code] for code in _GEO_TAGS if code in page.tags]
            return [(tag.code, tag.dtype, tag.count, tag.value, True) for tag in found]
    except Exception:  # no TIFF: tifffile raises almost anything for other files
        return []

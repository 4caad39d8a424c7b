"""Images and masks that the framework's own code reads: checked, with the file named in every error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segplug.errors import DatasetError, SegplugError
from segplug.regular_files import why_no_file
from segplug_mmseg.explain import one_line

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["BYTE_LABELS", "WIDE_IGNORED", "chained", "image_of", "labels_of", "read_with"]

BYTE_LABELS = 256
"""Labels that fit into a byte, the type to which mmseg casts every mask."""
WIDE_IGNORED = 65535
"""The ignored label where there are more classes, and mmseg's 255 is one of them."""


def read_with(read: Callable[[], Any], path: Path, kind: str) -> Any:
    """Call the framework's code, and name the file in its errors.

    Its loader may take the content from elsewhere than the disk: only what is there is judged.

    Args:
        read: What reads.
        path: The file.
        kind: ``image`` or ``mask``.

    Raises:
        DatasetError: it is not there, or cannot be read.
    """
    if os.path.exists(path) and (reason := why_no_file(path, kind)):
        raise DatasetError(reason)
    try:
        return read()
    except FileNotFoundError as error:
        raise DatasetError(f"the {kind} {path} does not exist") from error
    except SegplugError:
        raise
    except Exception as error:
        raise DatasetError(f"the {kind} {path} cannot be read: {one_line(error)}") from error


def image_of(found: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    """An image as a loader gave it, as ``(H, W, C)`` of the same type.

    Raises:
        DatasetError: it is no image.
    """
    image = found[:, :, None] if found.ndim == 2 else found
    if image.ndim != 3 or image.dtype.kind not in "iuf":
        raise DatasetError(
            f"the image {path} is loaded as {found.dtype} {found.shape}, not as numbers (H, W, C)"
        )
    return image


def labels_of(mask: npt.NDArray[Any], path: Path, *, classes: int, setting: str) -> npt.NDArray[Any]:
    """A mask as the framework gave it, uint8 or uint16 ``(H, W)``.

    Args:
        mask: The array.
        path: Its file.
        classes: How many classes there are.
        setting: What in the config makes the framework read it, for the hint.

    Raises:
        DatasetError: it is no mask, or holds bytes where there are more classes.
    """
    if mask.ndim != 2 or mask.dtype.name not in ("uint8", "uint16"):
        raise DatasetError(f"the mask {path} is read as {mask.dtype} {mask.shape}, not as labels")
    if classes > BYTE_LABELS and mask.dtype.name == "uint8":
        raise DatasetError(
            f"the mask {path} is read as bytes, for {classes} classes",
            hint=f"leave out {setting}: mmseg's loader casts masks to uint8",
        )
    return mask


def chained(tables: Iterable[npt.NDArray[Any] | None]) -> npt.NDArray[Any] | None:
    """One table for several that are applied one after the other; ``None`` changes nothing."""
    labels: npt.NDArray[Any] | None = None
    for table in tables:
        if table is not None:
            labels = table if labels is None else table[labels]
    return labels

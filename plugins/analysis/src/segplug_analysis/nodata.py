"""Pixels of an image that have no data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["pixels_without_data"]


def pixels_without_data(image: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where all channels of a masked array ``(H, W, C)`` are masked; nowhere for other arrays. ``(H, W)``."""
    return np.asarray(np.ma.getmaskarray(image).all(axis=-1))

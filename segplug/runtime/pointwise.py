"""The steps that change each pixel by itself: conversion, channel order, scale, normalisation.

For 8-bit images a run of such steps is a table: a pixel has 256 values, so the steps are computed once for
each of them, with the same arithmetic. An image then costs one table look-up for each channel, which also
splits it into planes. The result is equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.preprocessing import ChannelOrder, Convert, Normalize, Scale, Step

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Tables", "apply_pointwise", "is_pointwise"]


def is_pointwise(step: Step) -> bool:
    """Whether a step changes each pixel by itself."""
    return isinstance(step, (Convert, ChannelOrder, Scale, Normalize))


def apply_pointwise(image: npt.NDArray[Any], step: Step) -> npt.NDArray[Any]:
    """Apply one step to an image ``(H, W, C)``."""
    match step:
        case Convert(dtype=dtype):
            return image.astype(dtype)
        case ChannelOrder(order=order):
            return image[:, :, list(order)]
        case Scale():
            return _scaled(image, step)
        case Normalize():
            return _normalised(image, step)
    raise AssertionError(f"{step} is not pointwise")


def _scaled(image: npt.NDArray[Any], step: Scale) -> npt.NDArray[np.float32]:
    kind = np.float32 if step.dtype == "float32" else np.float64
    values, factor = image.astype(kind), kind(step.factor)
    scaled = values * factor if step.operation == "multiply" else values / factor
    result: npt.NDArray[np.float32] = scaled.astype(np.float32)
    return result


def _normalised(image: npt.NDArray[Any], step: Normalize) -> npt.NDArray[np.float32]:
    mean, std = np.array(step.mean, np.float32), np.array(step.std, np.float32)
    values = image.astype(np.float32)
    values -= mean
    if step.arithmetic == "division":
        values /= std
        return values
    factor = 1 / std.astype(np.float64)
    np.multiply(values, factor, out=values, casting="same_kind")
    return values


class Tables:
    """A run of pointwise steps for 8-bit images.

    Args:
        steps: The steps.
        channels: Channels of the images.
    """

    def __init__(self, steps: Sequence[Step], channels: int) -> None:
        ramp: npt.NDArray[Any] = np.repeat(np.arange(256, dtype=np.uint8).reshape(-1, 1, 1), channels, axis=2)
        order = list(range(channels))
        for step in steps:
            ramp = apply_pointwise(ramp, step)
            if isinstance(step, ChannelOrder):
                order = [order[channel] for channel in step.order]
        self._order = order
        self._tables = np.ascontiguousarray(ramp[:, 0].T.astype(np.float32))

    def look_up(self, image: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]) -> None:
        """Apply the steps.

        Args:
            image: uint8 ``(H, W, C)``.
            out: float32 ``(C, H, W)``; its planes need not be contiguous.
        """
        from segplug.runtime.libraries import opencv

        cv2 = opencv()
        planes = cv2.split(image) if image.shape[2] <= 4 else [image[:, :, c] for c in range(image.shape[2])]
        for source, table, plane in zip(self._order, self._tables, out, strict=True):
            if plane.flags.c_contiguous:
                cv2.LUT(np.ascontiguousarray(planes[source]), table, dst=plane)
            else:
                plane[:] = cv2.LUT(np.ascontiguousarray(planes[source]), table)

"""Preprocess images for the network, with the same result as mmsegmentation's test pipeline.

Images are resized with OpenCV's bilinear resizing of uint8, as in that pipeline. Normalisation uses tables: a
pixel has 256 values, so ``(x - mean) / std`` is computed once for each of them with the same OpenCV calls. An
image then costs three table look-ups, which also split it into planes. The result is equal bit for bit.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import ShapeError
from segplug.progress import QuietReporter, Reporter
from segplug.runtime.libraries import opencv

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Axis, EngineSpec
    from segplug.model import ModelMeta, Resize

__all__ = ["Geometry", "Prepared", "Preprocessor", "Size"]

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True)
class Geometry:
    """The sizes for resizing the network's output back to the image."""

    original: Size
    """The image's own size."""
    valid: Size
    """The size of the network's input without the padding at the bottom and right."""


@dataclass(frozen=True)
class Prepared:
    """One preprocessed image: the engine's input, C-contiguous, and its geometry."""

    array: npt.NDArray[Any]
    """Float32 ``(3, H, W)``; uint8 ``(H, W, 3)``, the image itself, for an engine that takes images."""
    geometry: Geometry


class Preprocessor:
    """Turns images into the input of a model: resizes, normalises and pads them. Thread-safe.

    For an engine of one fixed size, images of other sizes are stretched to it, with one warning. If an
    engine needs multiples that the model's own padding does not give, zeros are added at the bottom and
    right after normalisation, and cut from the output.

    Args:
        meta: The model's metadata.
        spec: The engine that takes the whole image; ``None``: any size is allowed (windows are cut later).
        reporter: Gets the warning.
    """

    def __init__(
        self, meta: ModelMeta, spec: EngineSpec | None = None, reporter: Reporter | None = None
    ) -> None:
        self._meta = meta
        self._spec = spec
        self._reporter = reporter or QuietReporter()
        self._warned = threading.Lock()
        self._tables = _normalisation_tables(meta)

    def __call__(self, image: npt.NDArray[np.uint8], name: str) -> Prepared:
        """Preprocess one image.

        Args:
            image: uint8 ``(H, W, 3)``, BGR.
            name: The name of the image in messages.

        Raises:
            ShapeError: the engine does not take the size of the result.
        """
        cv2 = opencv()
        original: Size = (image.shape[0], image.shape[1])
        if self._spec is not None and self._spec.input == "image":
            return Prepared(np.ascontiguousarray(image), Geometry(original, original))
        steps, padded = self._plan(original, name)
        for height, width in steps:
            if (height, width) != image.shape[:2]:
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        valid: Size = (image.shape[0], image.shape[1])
        return Prepared(self._normalised(image, padded), Geometry(original, valid))

    def _plan(self, original: Size, name: str) -> tuple[list[Size], Size]:
        """The sizes to resize to, one after another, and the size to pad to."""
        steps = _resize_steps(original, self._meta.resize)
        padded = _padded_size(steps[-1], self._meta)
        if self._spec is None or _fits(self._spec, padded):
            return steps, padded
        height, width = self._spec.height, self._spec.width
        if height.is_fixed and width.is_fixed:
            fixed = (height.minimum, width.minimum)
            self._warn_stretched(name, padded, fixed)
            return [fixed], fixed
        raised = (_up(padded[0], height.multiple_of), _up(padded[1], width.multiple_of))
        if _fits(self._spec, raised):
            return steps, raised
        limits = self._spec.meta.input_limits
        network = f"the network itself takes {limits}: resize the images"
        raise ShapeError(
            f"the image {name} is {_by(padded)} (height x width) after preprocessing, but the engine takes "
            f"height {height} and width {width}",
            hint=network if limits else "export with a shape that covers it, or dynamic",
        )

    def _warn_stretched(self, name: str, size: Size, fixed: Size) -> None:
        if not self._warned.acquire(blocking=False):
            return  # acquired once and never released, as several threads preprocess
        self._reporter.warn(
            f"the engine takes {_by(fixed)} (height x width) only: the image {name}, {_by(size)} after "
            "preprocessing, and all others of another size are stretched to it"
        )

    def _normalised(self, image: npt.NDArray[np.uint8], padded: Size) -> npt.NDArray[np.float32]:
        cv2 = opencv()
        height, width = image.shape[:2]
        planes = cv2.split(image)
        if self._meta.channel_order == "rgb":
            planes = planes[::-1]
        if padded == (height, width):
            array = np.empty((3, height, width), np.float32)
            for plane, table, out in zip(planes, self._tables, array, strict=True):
                cv2.LUT(plane, table, dst=out)
            return array
        array = np.zeros((3, *padded), np.float32)
        value = self._meta.pad.value if self._meta.pad else 0.0
        if value:
            # OpenCV reads a single number as (value, 0, 0): mmseg's pipeline pads the first channel only.
            height_set, width_set = _padded_size((height, width), self._meta)
            array[0, :height_set, :width_set] = value
        for plane, table, out in zip(planes, self._tables, array, strict=True):
            out[:height, :width] = cv2.LUT(plane, table)
        return array


def _normalisation_tables(meta: ModelMeta) -> list[npt.NDArray[np.float32]]:
    """For each channel, in the network's order, the normalised value of each of the 256 pixels."""
    cv2 = opencv()
    mean = np.array([meta.mean], np.float32).astype(np.float64)
    factor = 1 / np.array([meta.std], np.float32).astype(np.float64)
    ramp = np.repeat(np.arange(256, dtype=np.float32).reshape(-1, 1, 1), 3, axis=2)
    table = cv2.multiply(cv2.subtract(ramp, mean), factor)
    return [np.ascontiguousarray(table[:, 0, channel]) for channel in range(3)]


def _resize_steps(size: Size, resize: Resize | None) -> list[Size]:
    """The sizes after each resizing; never empty. Two steps round twice, as the pipeline does."""
    if resize is None:
        return [size]
    steps = [_resized(size, resize)]
    if resize.multiple_of:
        height, width = steps[-1]
        steps.append((_up(height, resize.multiple_of), _up(width, resize.multiple_of)))
    return steps


def _resized(size: Size, resize: Resize) -> Size:
    height, width = size
    scale: tuple[float, float]
    if resize.scale is not None:
        scale = resize.scale
    elif resize.ratio == 1.0 and resize.min_size is None:
        return size
    else:
        scale = (int(width * resize.ratio), int(height * resize.ratio))
    if not resize.keep_ratio:
        return max(int(scale[1]), 1), max(int(scale[0]), 1)
    if resize.min_size is not None:
        short = max(min(scale), resize.min_size)
        scale = (short * max(size) / min(size), short)
    factor = min(max(scale) / max(size), min(scale) / min(size))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def _padded_size(size: Size, meta: ModelMeta) -> Size:
    pad = meta.pad
    if pad is None:
        return size
    if pad.size is not None:
        return max(size[0], pad.size[0]), max(size[1], pad.size[1])
    divisor = pad.divisor or 1
    return _up(size[0], divisor), _up(size[1], divisor)


def _up(size: int, divisor: int) -> int:
    return math.ceil(size / divisor) * divisor


def _fits(spec: EngineSpec, size: Size) -> bool:
    axes: tuple[Axis, Axis] = (spec.height, spec.width)
    return all(axis.accepts(length) for axis, length in zip(axes, size, strict=True))


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"

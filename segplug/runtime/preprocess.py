"""Preprocess images for the network: execute the steps of a model's metadata, in their order."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import DatasetError, ShapeError
from segplug.preprocessing import ChannelOrder, Crop, Flip, Pad, Resize, Step, find_steps
from segplug.progress import QuietReporter, Reporter
from segplug.runtime.pointwise import Tables, apply_pointwise, is_pointwise
from segplug.runtime.reading.limits import MAX_PIXELS
from segplug.runtime.resizing import resize_image
from segplug.runtime.sizes import Geometry, Plan, Size, pad_before, plan_sizes, round_up
from segplug.text import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import Axis, EngineSpec
    from segplug.model import ModelMeta

__all__ = ["Geometry", "Prepared", "Preprocessor", "Size"]

_LARGEST_GROWTH = 4
"""An image of many pixels may get so many times as many, as in a view of twice its size."""


@dataclass(frozen=True)
class Prepared:
    """One preprocessed image: the engine's input, C-contiguous, and its geometry."""

    array: npt.NDArray[Any]
    """Float32 ``(C, H, W)``; the image itself, ``(H, W, C)``, for an engine that takes images."""
    geometry: Geometry
    stretched_from: Size | None = None
    """The size that the model's own steps give, if the image was stretched to the engine's size instead."""


class Preprocessor:
    """Turns images into the input of a model. Thread-safe.

    For an engine of one fixed size, images of other sizes are stretched to it, with one warning. If an
    engine needs multiples that the model's own padding does not give, zeros are added at the bottom and
    right after the last step, and cut from the output.

    Args:
        meta: The model's metadata.
        spec: The engine that takes the whole image; ``None``: any size is allowed (windows are cut later).
        reporter: Gets the warning.
        steps: The steps of one view of test-time augmentation, in place of ``meta.preprocessing``.
    """

    def __init__(
        self,
        meta: ModelMeta,
        spec: EngineSpec | None = None,
        reporter: Reporter | None = None,
        *,
        steps: Sequence[Step] | None = None,
    ) -> None:
        self._meta = meta
        self._spec = spec
        self._reporter = reporter or QuietReporter()
        self._is_view = steps is not None
        self._steps = tuple(meta.preprocessing if steps is None else steps)
        self._warned = threading.Lock()
        self._program = _Program(self._steps, meta.in_channels)

    def __call__(self, image: npt.NDArray[Any], name: str) -> Prepared:
        """Preprocess one image.

        Args:
            image: ``(H, W, C)`` of any numeric type, as the decoder gives it.
            name: The name of the image in messages.

        Raises:
            DatasetError: the image has another number of channels, is not numeric, or holds NaN.
            ShapeError: the engine does not take the size of the result, or it is too large to compute.
        """
        _check_image(image, self._meta.in_channels, name)
        original: Size = (image.shape[0], image.shape[1])
        if self._spec is not None and self._spec.input == "image":
            return Prepared(np.ascontiguousarray(image), Geometry.whole(original))
        plan = plan_sizes(self._steps, original)
        size = plan.geometry.network
        if self._spec is None or _fits(self._spec, size):
            return self._followed(image, plan, plan.geometry, name)
        height, width = self._spec.height, self._spec.width
        if height.is_fixed and width.is_fixed and not self._is_view:
            fixed = (height.minimum, width.minimum)
            self._warn_stretched(name, size, fixed)
            return replace(self._stretched(image, fixed, name), stretched_from=size)
        raised = (round_up(size[0], height.multiple_of), round_up(size[1], width.multiple_of))
        if _fits(self._spec, raised):
            geometry = replace(plan.geometry, network=raised)
            return self._followed(image, plan, geometry, name)
        raise self._refusal(name, plan)

    def _followed(self, image: npt.NDArray[Any], plan: Plan, geometry: Geometry, name: str) -> Prepared:
        """Follow the plan, unless it makes a very long and narrow image too large to compute."""
        largest = max((*plan.sizes, geometry.network), key=math.prod)
        if math.prod(largest) > max(MAX_PIXELS, _LARGEST_GROWTH * math.prod(geometry.original)):
            raise ShapeError(
                f"the image {name} is {_by(geometry.original)} (height x width), and preprocessing would "
                f"make it {_by(largest)}: more than {MAX_PIXELS} pixels are not computed"
            )
        return Prepared(self._program(image, plan.sizes, geometry.network, name), geometry)

    def _refusal(self, name: str, plan: Plan) -> ShapeError:
        assert self._spec is not None
        limits = self._spec.meta.input_limits
        hint = f"the network itself takes {limits}: resize the images" if limits else None
        if self._is_view:
            hint = "run without test-time augmentation (--no-tta), or export with free sizes (--dynamic)"
        return ShapeError(
            f"the image {name} is {_by(plan.geometry.network)} (height x width) after preprocessing, but the "
            f"engine takes height {self._spec.height} and width {self._spec.width}",
            hint=hint or "export with a shape that covers it, or dynamic",
        )

    def _stretched(self, image: npt.NDArray[Any], fixed: Size, name: str) -> Prepared:
        """Resize once to the engine's size in place of all steps that change the size: where the first
        resize is, since steps before it may convert the pixels to a type that it takes.
        """
        resize = next(iter(find_steps(self._steps, Resize)), None)
        place = 0 if resize is None else self._steps.index(resize)
        resize = resize or Resize()
        exact = Resize(scale=fixed[::-1], algorithm=resize.algorithm, filter=resize.filter)
        before, after = (
            [step for step in part if not isinstance(step, (Resize, Crop, Pad))]
            for part in (self._steps[:place], self._steps[place:])
        )
        steps = (*before, exact, *after)
        plan = plan_sizes(steps, (image.shape[0], image.shape[1]))
        program = _Program(steps, self._meta.in_channels)
        return Prepared(program(image, plan.sizes, fixed, name), plan.geometry)

    def _warn_stretched(self, name: str, size: Size, fixed: Size) -> None:
        if not self._warned.acquire(blocking=False):
            return  # acquired once and never released, as several threads preprocess
        self._reporter.warn(
            f"the engine takes {_by(fixed)} (height x width) only: the image {name}, {_by(size)} after "
            "preprocessing, and all others of another size are stretched, and scores differ from the "
            "model's own; for its own sizes, export with --dynamic"
        )


class _Program:
    """Steps that are ready to run: the last run of pointwise steps has tables for 8-bit images."""

    def __init__(self, steps: Sequence[Step], channels: int) -> None:
        self._steps = tuple(steps)
        end = len(steps)
        while end and isinstance(steps[end - 1], Pad):
            end -= 1
        start = end
        while start and is_pointwise(steps[start - 1]):
            start -= 1
        self._start, self._end = start, end
        self._gives_floats = any(not isinstance(step, ChannelOrder) for step in steps[start:end])
        self._tables = Tables(steps[start:end], channels)

    def __call__(
        self, image: npt.NDArray[Any], sizes: Sequence[Size], size: Size, name: str
    ) -> npt.NDArray[np.float32]:
        """The network's input.

        Args:
            image: ``(H, W, C)``.
            sizes: The size after each step.
            size: The size of the result, at least the last of ``sizes``; the rest is zero.
            name: The name of the image in messages.
        """
        for step, after in zip(self._steps[: self._start], sizes, strict=False):
            image = _applied(image, step, after, name)
        pads = list(zip(self._steps[self._end :], sizes[self._end :], strict=True))
        inside: Size = (image.shape[0], image.shape[1])
        array = (np.empty if size == inside else np.zeros)((image.shape[2], *size), np.float32)
        has_values = any(isinstance(pad, Pad) and pad.value for pad, _ in pads)
        padded = np.dtype(np.float32) if self._gives_floats else image.dtype
        within = [inside, *(after for _, after in pads)]
        top = left = 0
        for (pad, after), before in reversed(list(zip(pads, within, strict=False))):  # the outermost first
            assert isinstance(pad, Pad)
            if has_values:
                rows, columns = _part(top, left, after)
                array[:, rows, columns] = _pad_value(pad, padded)[:, None, None]
            top, left = (
                top + pad_before(pad, before[0], after[0]),
                left + pad_before(pad, before[1], after[1]),
            )
        rows, columns = _part(top, left, inside)
        view = array[:, rows, columns]
        if image.dtype == np.uint8:
            self._tables.look_up(image, view)
            return array
        for step in self._steps[self._start : self._end]:
            image = apply_pointwise(image, step)
        view[:] = image.transpose(2, 0, 1)
        return array


def _applied(image: npt.NDArray[Any], step: Step, size: Size, name: str) -> npt.NDArray[Any]:
    """The image after one step; ``size`` is the size after it."""
    match step:
        case Resize():
            return resize_image(image, size, step, name)
        case Crop():
            return _cropped(image, step)
        case Pad():
            return _padded(image, step, size)
        case Flip(direction=direction):
            return np.ascontiguousarray(image[:, ::-1] if direction == "horizontal" else image[::-1])
    return apply_pointwise(image, step)


def _padded(image: npt.NDArray[Any], pad: Pad, size: Size) -> npt.NDArray[Any]:
    padded = np.empty((*size, image.shape[2]), image.dtype)
    padded[:] = _pad_value(pad, image.dtype)
    top, left = (pad_before(pad, old, new) for old, new in zip(image.shape, size, strict=False))
    padded[_part(top, left, (image.shape[0], image.shape[1]))] = image
    return padded


def _part(top: int, left: int, size: Size) -> tuple[slice, slice]:
    return slice(top, top + size[0]), slice(left, left + size[1])


def _cropped(image: npt.NDArray[Any], crop: Crop) -> npt.NDArray[Any]:
    """The centre of the image, with zeros around it where the image is smaller."""
    size: Size = (image.shape[0], image.shape[1])
    kept = [min(old, new) for old, new in zip(size, crop.size, strict=True)]
    top, left = ((old - edge) // 2 for old, edge in zip(size, kept, strict=True))
    image = image[_part(top, left, (kept[0], kept[1]))]
    if image.shape[:2] == crop.size:
        return image
    extra = 1 if crop.longer == "start" else 0
    top, left = ((new - edge + extra) // 2 for new, edge in zip(crop.size, kept, strict=True))
    cropped = np.zeros((*crop.size, image.shape[2]), image.dtype)
    cropped[_part(top, left, (kept[0], kept[1]))] = image
    return cropped


def _pad_value(pad: Pad, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The value of each channel, or one for all, in the type of the image that is padded."""
    value = np.array(pad.value or (0.0,))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        value = np.clip(np.rint(value), limits.min, limits.max)
    return value.astype(dtype)


def _check_image(image: npt.NDArray[Any], channels: int, name: str) -> None:
    if image.ndim != 3 or image.dtype.kind not in "iuf":
        raise DatasetError(f"the image {name} is {image.dtype} {image.shape}, not numbers (H, W, C)")
    if image.shape[2] != channels:
        raise DatasetError(
            f"the image {name} has {counted(image.shape[2], 'channel')}, the network takes {channels}",
            hint="give the images that the network was trained on",
        )
    if image.dtype.kind == "f" and not (finite := np.isfinite(image)).all():
        # Not argwhere, which takes 24 bytes for each such value.
        row, column, channel = map(int, np.unravel_index(finite.argmin(), image.shape))
        raise DatasetError(
            f"the image {name} holds {image[row, column, channel]} in channel {channel + 1}, row {row}, "
            f"column {column}",
            hint="replace it, or mark it as nodata in a GeoTIFF",
        )
    if image.dtype.itemsize > 4 and image.dtype.kind == "f":
        largest = max(image.max(initial=0), -image.min(initial=0))
        if largest > np.finfo(np.float32).max:
            raise DatasetError(f"the image {name} holds {largest:g}, which is too large for float32")


def _fits(spec: EngineSpec, size: Size) -> bool:
    axes: tuple[Axis, Axis] = (spec.height, spec.width)
    return all(axis.accepts(length) for axis, length in zip(axes, size, strict=True))


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"

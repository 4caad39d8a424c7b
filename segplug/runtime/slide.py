"""Slide inference with any engine that gives logits: windows run in batches, overlaps are averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segplug.errors import ModelError, ShapeError, UsageError
from segplug.progress import QuietReporter, Reporter
from segplug.runtime.planes import ResizedPlanes

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.runtime.runner import Runner
    from segplug.runtime.sizes import Size

__all__ = ["Slider", "Window", "windows"]

_LARGEST_BATCH = 8
_LARGEST_OUTPUT = 1 << 28
"""Largest output of one batch of windows, unless the engine's batch size is fixed. Bytes."""


@dataclass(frozen=True)
class Window:
    """A sliding window: the pixels ``[top, bottom) x [left, right)`` of the preprocessed image."""

    top: int
    bottom: int
    left: int
    right: int


def windows(size: Size, crop: Size, stride: Size | None) -> list[Window]:
    """The windows that cover an image, row by row.

    An axis shorter than the crop gets one window of its own length.

    Args:
        size: The image's (height, width).
        crop: The window's.
        stride: The step from one to the next; the last of a row or column is moved back inside. ``None``:
            as few as cover an axis, evenly (``Inference.placement``).
    """
    if stride is None:
        rows, columns = _even_spans(size[0], crop[0]), _even_spans(size[1], crop[1])
    else:
        rows, columns = _spans(size[0], crop[0], stride[0]), _spans(size[1], crop[1], stride[1])
    return [Window(*row, *column) for row in rows for column in columns]


def _spans(length: int, crop: int, stride: int) -> list[tuple[int, int]]:
    steps = -(-max(length - crop, 0) // stride) + 1
    ends = [min(step * stride + crop, length) for step in range(steps)]
    return [(max(end - crop, 0), end) for end in ends]


def _even_spans(length: int, crop: int) -> list[tuple[int, int]]:
    """In the arithmetic of transformers (EoMT's ``_split_image``): where rounding brings the last window one
    pixel too low, as for windows of 53 on 162 pixels, the last pixel lies in none.
    """
    count = math.ceil(length / crop)
    overlap = (count * crop - length) / (count - 1) if count > 1 else 0
    starts = [int(index * (crop - overlap)) for index in range(count)]
    return [(start, min(start + crop, length)) for start in starts]


class Slider:
    """Runs slide inference with the window and the stride of ``meta.inference``.

    Args:
        runner: The engine.
        reporter: Gets one warning if images are smaller than the window.

    Raises:
        UsageError: the engine gives labels, which cannot be averaged, or the windows do not cover an image.
        ShapeError: the engine does not take inputs of the window's size.
    """

    def __init__(self, runner: Runner, reporter: Reporter | None = None) -> None:
        spec, inference = runner.spec, runner.spec.meta.inference
        even = inference.placement == "even"
        if inference.crop_size is None or (inference.stride is None) != even:
            wanted = "a crop size and no stride" if even else "a crop size and a stride"
            raise ModelError(f"the model's metadata asks for slide inference, which needs {wanted}")
        if spec.output != "logits":
            raise UsageError(
                "slide inference averages logits, but this engine gives labels",
                hint="export it with logits as output",
            )
        self._runner = runner
        self._reporter = reporter or QuietReporter()
        self._warned = False
        self._crop: Size = inference.crop_size
        self._stride: Size | None = inference.stride
        steps = self._stride or self._crop
        if not all(1 <= step <= crop for step, crop in zip(steps, self._crop, strict=True)):
            raise UsageError(
                f"slide inference with a stride of {self._stride} cannot cover an image with windows of "
                f"{self._crop} (height, width): a stride is at least 1 and at most the window"
            )
        if not self._takes(self._crop):
            height, width = self._crop
            raise ShapeError(
                f"slide inference needs windows of {height}x{width} (height x width), but the engine takes "
                f"height {spec.height} and width {spec.width}",
                hint=f"export with --shape {height} {width}",
            )

    def __call__(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Average the logits of all windows.

        Args:
            array: float32 ``(channels, H, W)``, preprocessed.

        Returns:
            float32 ``(C, H, W)``, at the input's size; 0 where no window lies.
        """
        size: Size = (array.shape[1], array.shape[2])
        places = windows(size, self._crop, self._stride)
        patches = [self._patch(array, place) for place in places]
        total: npt.NDArray[np.float32] = np.zeros((0, *size), np.float32)
        step = self._batch_size()
        for start in range(0, len(places), step):
            batch = np.stack(patches[start : start + step])
            outputs = self._runner(batch)
            if start == 0:
                total = np.zeros((outputs.shape[1], *size), np.float32)
            for place, output in zip(places[start : start + step], outputs, strict=True):
                height, width = place.bottom - place.top, place.right - place.left
                target = total[:, place.top : place.bottom, place.left : place.right]
                target += self._at_window_size(output, (batch.shape[2], batch.shape[3]))[:, :height, :width]
        if len(places) > 1:
            total /= _counts(size, places)
        return total

    def _at_window_size(self, output: npt.NDArray[np.float32], size: Size) -> npt.NDArray[np.float32]:
        """The scores of one window, at the size of its input."""
        return ResizedPlanes(output, size, self._runner.spec.meta).together()

    def _patch(self, array: npt.NDArray[np.float32], place: Window) -> npt.NDArray[np.float32]:
        patch = array[:, place.top : place.bottom, place.left : place.right]
        size: Size = (patch.shape[1], patch.shape[2])
        if size == self._crop or self._takes(size):
            return patch
        self._warn_padded()
        padded = np.zeros((len(array), *self._crop), np.float32)
        padded[:, : size[0], : size[1]] = patch
        return padded

    def _warn_padded(self) -> None:
        if self._warned:
            return
        self._warned = True
        limits = self._runner.spec.meta.input_limits
        exact = "exact results need an artifact exported with --dynamic"
        self._reporter.warn(
            "images smaller than the window are padded; "
            + (f"the network itself takes {limits}" if limits else exact)
        )

    def _takes(self, size: Size) -> bool:
        return self._runner.spec.height.accepts(size[0]) and self._runner.spec.width.accepts(size[1])

    def _batch_size(self) -> int:
        spec = self._runner.spec
        height, width = spec.meta.output_size or self._crop
        output = 4 * max(spec.meta.out_channels, 1) * height * width
        bounded = min(_LARGEST_BATCH, max(_LARGEST_OUTPUT // output, 1))
        return self._runner.group_size(bounded)


def _counts(size: Size, places: list[Window]) -> npt.NDArray[np.float32]:
    counts = np.zeros(size, np.float32)
    for place in places:
        counts[place.top : place.bottom, place.left : place.right] += 1
    return np.maximum(counts, 1)

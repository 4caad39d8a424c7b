"""Turn network outputs into label maps at the image's own size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.progress import QuietReporter, Reporter
from segplug.runtime.libraries import opencv

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.model import ModelMeta
    from segplug.runtime.preprocess import Geometry, Size

__all__ = ["Postprocessor", "argmax", "label_dtype", "logits_to_labels", "resize_plane"]

_BLOCK = 1 << 16
"""Pixels for which the argmax is computed at a time: few enough for the processor's cache."""

_DEFAULT_THRESHOLD = 0.5


def label_dtype(num_classes: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds every label."""
    if num_classes <= 1 << 8:
        return np.dtype(np.uint8)
    return np.dtype(np.uint16 if num_classes <= 1 << 16 else np.uint32)


class Postprocessor:
    """Turns the output of a model into label maps: cuts the padding, resizes, takes the best class.

    Args:
        meta: The model's metadata.
        reporter: Gets one warning if labels are resized.
    """

    def __init__(self, meta: ModelMeta, reporter: Reporter | None = None) -> None:
        self._meta = meta
        self._reporter = reporter or QuietReporter()
        self._warned = False

    def __call__(self, output: npt.NDArray[Any], geometry: Geometry) -> npt.NDArray[Any]:
        """One image's labels.

        Args:
            output: float32 logits ``(C, H, W)``, or unsigned labels ``(H, W)``, at the network's size.
            geometry: Where the image lies in it, and the image's own size.

        Returns:
            Unsigned integer ``(H, W)`` at the image's own size.
        """
        if output.ndim == 3:
            return logits_to_labels(output, self._meta, geometry)
        height, width = geometry.valid
        labels = output[:height, :width]
        if geometry.valid == geometry.original:
            return labels
        self._warn_resized()
        return _resize_labels(labels, geometry.original)

    def _warn_resized(self) -> None:
        if self._warned:
            return
        self._warned = True
        self._reporter.warn(
            "the engine gives labels at another size than the image's: they are resized by nearest "
            "neighbour, and scores differ a little; export with logits as output for exact scores"
        )


def logits_to_labels(
    logits: npt.NDArray[np.float32], meta: ModelMeta, geometry: Geometry
) -> npt.NDArray[Any]:
    """Cut the padding, resize bilinearly to the image's own size, and decide each pixel's label.

    Args:
        logits: float32 ``(C, H, W)`` at the network's input size.
        meta: Says how logits are resized, and the threshold of a single channel.
        geometry: Where the image lies in the logits, and its own size.

    Returns:
        Unsigned integer ``(H, W)``: the largest logit's channel, the first of equals. For a single
        channel: 1 where ``sigmoid(logit) > threshold``.
    """
    height, width = geometry.valid
    planes: Any = logits[:, :height, :width]
    if geometry.valid != geometry.original:
        planes = _Resized(planes, geometry.original, meta.align_corners)
    if len(logits) == 1:
        return _above(planes[0], meta.threshold)
    return argmax(planes)


def argmax(planes: Any) -> npt.NDArray[Any]:
    """The index of the largest plane at each pixel, the first of equals.

    ``np.argmax(axis=0)`` strides through memory and is about ten times slower. A larger class index
    always comes later, so a maximum over "index where this plane is larger" is the label itself.

    Args:
        planes: float32 ``(C, H, W)``, or a sequence of C planes ``(H, W)`` made one at a time.

    Returns:
        ``(H, W)`` of :func:`label_dtype`.
    """
    count = len(planes)
    first = planes[0]
    dtype = label_dtype(count)
    if isinstance(planes, np.ndarray) and planes.flags.c_contiguous:
        flat = planes.reshape(count, -1)
        labels = np.zeros(first.size, dtype)
        for start in range(0, first.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            _running_argmax((flat[index, block] for index in range(count)), labels[block])
        shaped: npt.NDArray[Any] = labels.reshape(first.shape)
        return shaped
    labels = np.zeros(first.shape, dtype)
    _running_argmax((planes[index] for index in range(count)), labels)
    return labels


def _running_argmax(planes: Any, labels: npt.NDArray[Any]) -> None:
    best = next(planes).copy()
    larger = np.empty(best.shape, np.bool_)
    candidate = np.empty_like(labels)
    for index, plane in enumerate(planes, start=1):
        np.greater(plane, best, out=larger)
        np.maximum(plane, best, out=best)
        np.multiply(larger, labels.dtype.type(index), out=candidate)
        np.maximum(labels, candidate, out=labels)


def _above(plane: npt.NDArray[np.float32], threshold: float | None) -> npt.NDArray[np.uint8]:
    """``sigmoid(plane) > threshold`` without the sigmoid."""
    threshold = _DEFAULT_THRESHOLD if threshold is None else threshold
    if threshold <= 0:
        return np.ones(plane.shape, np.uint8)
    if threshold >= 1:
        return np.zeros(plane.shape, np.uint8)
    above: npt.NDArray[np.uint8] = (plane > math.log(threshold / (1 - threshold))).view(np.uint8)
    return above


class _Resized:
    """Planes that are resized when they are read, so that only one is held at the image's size."""

    def __init__(self, planes: npt.NDArray[np.float32], size: Size, align_corners: bool) -> None:
        self._planes, self._size, self._align_corners = planes, size, align_corners

    def __len__(self) -> int:
        return len(self._planes)

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        return resize_plane(self._planes[index], self._size, align_corners=self._align_corners)


def resize_plane(
    plane: npt.NDArray[np.float32], size: Size, *, align_corners: bool
) -> npt.NDArray[np.float32]:
    """Resize one plane bilinearly, without antialiasing, as ``torch.nn.functional.interpolate`` does.

    Args:
        plane: float32 ``(H, W)``.
        size: The new (height, width).
        align_corners: Whether the centres of the corner pixels stay in place, or the edges of the image.
    """
    if plane.shape == size:
        return plane
    if align_corners:
        return _resize_aligned(plane, size)
    cv2 = opencv()
    resized: npt.NDArray[np.float32] = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
    return resized


def _resize_aligned(plane: npt.NDArray[np.float32], size: Size) -> npt.NDArray[np.float32]:
    left, right, share = _neighbours(plane.shape[1], size[1])
    rows = plane[:, left] * (1 - share) + plane[:, right] * share
    above, below, share = _neighbours(plane.shape[0], size[0])
    result: npt.NDArray[np.float32] = rows[above] * (1 - share)[:, None]
    result += rows[below] * share[:, None]
    return result


def _neighbours(
    old: int, new: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    step = np.float32((old - 1) / (new - 1)) if new > 1 else np.float32(0)
    position = step * np.arange(new, dtype=np.float32)
    first = np.minimum(position.astype(np.intp), old - 1)
    return first, np.minimum(first + 1, old - 1), position - first.astype(np.float32)


def _resize_labels(labels: npt.NDArray[Any], size: Size) -> npt.NDArray[Any]:
    """Nearest neighbour between pixel centres, like the bilinear resize."""
    rows = _nearest(labels.shape[0], size[0])
    columns = _nearest(labels.shape[1], size[1])
    resized: npt.NDArray[Any] = labels[rows[:, None], columns]
    return resized


def _nearest(old: int, new: int) -> npt.NDArray[np.intp]:
    centres = (np.arange(new) + 0.5) * (old / new)
    return np.minimum(centres.astype(np.intp), old - 1)

"""Planes of scores: resize them, and find the label and its probability at each pixel.

Scores are one plane for each class. Planes are resized one at a time, when they are read: with many classes,
all of them at the image's own size would need gigabytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.runtime.antialiasing import resize_antialiased
from segplug.runtime.libraries import opencv

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.model import ModelMeta
    from segplug.runtime.sizes import Size

__all__ = [
    "ResizedPlanes",
    "Undefined",
    "above",
    "argmax",
    "each_above",
    "label_dtype",
    "labels_type",
    "of_label",
    "resize_labels",
    "resize_plane",
    "sigmoid",
    "winner",
]

_BLOCK = 1 << 16
"""Pixels for which the argmax is computed at a time: few enough for the processor's cache."""

_DEFAULT_THRESHOLD = 0.5

_LOWEST = np.finfo(np.float32).min


Undefined = np.ndarray | None
"""The pixels ``(H, W)`` that have no largest score, because one score is NaN or the largest is infinite;
``None``: there are none. A class that a network rules out by a score of minus infinity is no fault, unless it
is the only one."""


def label_dtype(num_labels: int) -> np.dtype[Any]:
    """The smallest unsigned type that holds every label."""
    if num_labels <= 1 << 8:
        return np.dtype(np.uint8)
    return np.dtype(np.uint16 if num_labels <= 1 << 16 else np.uint32)


def labels_type(meta: ModelMeta) -> np.dtype[Any]:
    """The type of a model's label maps. Of a bit mask it holds one value more than the sets of its classes:
    that of unknown pixels.
    """
    return label_dtype(meta.num_labels + 1 if meta.multilabel else meta.num_labels)


class ResizedPlanes(Sequence["npt.NDArray[np.float32]"]):
    """Planes that are resized when they are read.

    Args:
        planes: float32 ``(C, h, w)``.
        size: The new (height, width).
        meta: The metadata of their model: it says how they are resized.
    """

    def __init__(self, planes: npt.NDArray[np.float32], size: Size, meta: ModelMeta) -> None:
        self._planes, self._size = planes, size
        self._align_corners, self._antialias = meta.align_corners, meta.output_antialias

    def __len__(self) -> int:
        return len(self._planes)

    def __getitem__(self, index: Any) -> Any:
        plane = self._planes[index]
        return resize_plane(plane, self._size, align_corners=self._align_corners, antialias=self._antialias)

    def together(self) -> npt.NDArray[np.float32]:
        """All of them, float32 ``(C, height, width)``."""
        return self._planes if self._planes.shape[1:] == self._size else np.stack(list(self))


def argmax(planes: Any) -> tuple[npt.NDArray[Any], Undefined]:
    """The index of the largest plane at each pixel, the first of equals.

    ``np.argmax(axis=0)`` strides through memory and is about ten times slower. A larger class index
    always comes later, so a maximum over "index where this plane is larger" is the label itself.

    Args:
        planes: float32 ``(C, H, W)``, or a sequence of C planes ``(H, W)`` made one at a time.

    Returns:
        ``(H, W)`` of :func:`label_dtype`, and the pixels where it means nothing.
    """
    count = len(planes)
    first = planes[0]
    dtype = label_dtype(count)
    if isinstance(planes, np.ndarray) and planes.flags.c_contiguous:
        flat = planes.reshape(count, -1)
        labels = np.zeros(first.size, dtype)
        undefined = np.zeros(0, np.bool_)
        for start in range(0, first.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            found = _running_argmax((flat[index, block] for index in range(count)), labels[block])
            if found is not None:
                undefined = undefined if undefined.size else np.zeros(first.size, np.bool_)
                undefined[block] = found
        where = undefined.reshape(first.shape) if undefined.size else None
        return labels.reshape(first.shape), where
    labels = np.zeros(first.shape, dtype)
    return labels, _running_argmax((planes[index] for index in range(count)), labels)


def _running_argmax(planes: Any, labels: npt.NDArray[Any]) -> Undefined:
    best = next(planes).copy()
    larger = np.empty(best.shape, np.bool_)
    candidate = np.empty_like(labels)
    for index, plane in enumerate(planes, start=1):
        np.greater(plane, best, out=larger)
        np.maximum(plane, best, out=best)
        np.multiply(larger, labels.dtype.type(index), out=candidate)
        np.maximum(labels, candidate, out=labels)
    return _not_finite(best)


def _not_finite(best: npt.NDArray[np.float32]) -> Undefined:
    """Where the largest scores are not finite: a maximum passes NaN on, so one plane tells it of all."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(best.sum()):  # infinite or NaN if one of them is; faster than to ask each
            return None
    where = ~np.isfinite(best)
    return where if where.any() else None


def winner(planes: Any, *, logits: bool) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32], Undefined]:
    """The label of each pixel, as :func:`argmax`, and its probability.

    Args:
        planes: As for :func:`argmax`.
        logits: Whether the scores are logits: the probability is their softmax. Otherwise it is the largest
            score itself, at most 1.

    Returns:
        ``(H, W)`` of :func:`label_dtype`; float32 ``(H, W)``, 0 to 1; the pixels where both mean nothing:
        there the probability is 0.
    """
    best = np.maximum(planes[0], _LOWEST)  # not minus infinity, of which differences are NaN
    labels = np.zeros(best.shape, label_dtype(len(planes)))
    total = np.ones(best.shape, np.float32)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        for index in range(1, len(planes)):
            plane = planes[index]
            larger = plane > best
            labels[larger] = index
            now = np.maximum(best, plane)
            if logits:  # the sum of exp(score - best), while best grows
                total *= np.exp(best - now)
                total += np.exp(plane - now)
            best = now
        confidence: npt.NDArray[np.float32] = np.reciprocal(total) if logits else np.clip(best, 0, 1)
    best[best == _LOWEST] = -np.inf
    undefined = _not_finite(best)
    if undefined is not None:
        confidence[undefined] = 0
    return labels, confidence, undefined


def above(
    plane: npt.NDArray[np.float32], threshold: float | None, *, logits: bool
) -> tuple[npt.NDArray[np.uint8], Undefined]:
    """The labels of a head of one channel: 1 where the probability is above ``threshold`` (default 0.5).

    Returns:
        uint8 ``(H, W)``, and the pixels where it means nothing.
    """
    undefined = _not_finite(plane)
    threshold = _DEFAULT_THRESHOLD if threshold is None else threshold
    if not logits:
        return (plane > threshold).view(np.uint8), undefined
    if threshold <= 0:
        return np.ones(plane.shape, np.uint8), undefined
    if threshold >= 1:
        return np.zeros(plane.shape, np.uint8), undefined
    return (plane > math.log(threshold / (1 - threshold))).view(np.uint8), undefined


def each_above(
    planes: Any, threshold: float | None, *, logits: bool, confidence: bool = False
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32] | None, Undefined]:
    """The bit masks of scores of which each channel is decided alone: bit ``c`` is that of :func:`above` for
    channel ``c``.

    Args:
        planes: As for :func:`argmax`; read once, one after another.
        threshold: As for :func:`above`.
        logits: As for :func:`above`.
        confidence: Whether to find the probability of the least sure of a pixel's decisions.

    Returns:
        uint8 ``(H, W)`` for at most 7 channels, else uint16; float32 ``(H, W)``, 0 to 1, or ``None``; the
        pixels where both mean nothing, because a score of any channel is NaN or infinite: there the
        probability is 0.
    """
    dtype = label_dtype((1 << len(planes)) + 1)
    labels: npt.NDArray[Any] = np.zeros(0, dtype)
    least: npt.NDArray[np.float32] | None = None
    undefined: Undefined = None
    for channel in range(len(planes)):
        plane = planes[channel]
        if channel == 0:
            labels = np.zeros(plane.shape, dtype)
        marks, where = above(plane, threshold, logits=logits)
        if where is not None:
            undefined = where if undefined is None else undefined | where
        if confidence:
            sure = of_label(plane, marks, logits=logits)
            least = sure if least is None else np.minimum(least, sure, out=least)
        labels |= marks.astype(dtype) << dtype.type(channel)
    if undefined is not None and least is not None:
        least[undefined] = 0
    return labels, least, undefined


def of_label(
    plane: npt.NDArray[np.float32], marks: npt.NDArray[np.uint8], *, logits: bool
) -> npt.NDArray[np.float32]:
    """The probability of what :func:`above` decided: of the class where ``marks`` is 1, else of no class."""
    found = sigmoid(plane) if logits else np.clip(plane, 0, 1)
    return np.where(marks == 1, found, 1 - found).astype(np.float32, copy=False)


def sigmoid(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The sigmoid of each score, float32."""
    small = np.exp(-np.abs(plane))  # never overflows
    return np.where(plane >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32, copy=False)


def resize_plane(
    plane: npt.NDArray[np.float32], size: Size, *, align_corners: bool, antialias: bool = False
) -> npt.NDArray[np.float32]:
    """Resize one plane bilinearly, as ``torch.nn.functional.interpolate`` does.

    Args:
        plane: float32 ``(H, W)``.
        size: The new (height, width).
        align_corners: Whether the centres of the corner pixels stay in place, or the edges of the image.
        antialias: Whether all values count where the plane shrinks; not with ``align_corners``.
    """
    if plane.shape == size:
        return plane
    if align_corners:
        return _resize_aligned(plane, size)
    if antialias:
        return resize_antialiased(plane, size)
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


def resize_labels(labels: npt.NDArray[Any], size: Size, rule: str = "nearest_exact") -> npt.NDArray[Any]:
    """Nearest neighbour, by a rule of :attr:`segplug.model.ModelMeta.label_resize`."""
    rows = _nearest(labels.shape[0], size[0], rule)
    columns = _nearest(labels.shape[1], size[1], rule)
    resized: npt.NDArray[Any] = labels[rows[:, None], columns]
    return resized


def _nearest(old: int, new: int, rule: str) -> npt.NDArray[np.intp]:
    places: npt.NDArray[Any]
    if rule == "nearest":  # in float32, as PyTorch computes it
        places = np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))
    elif rule == "opencv":
        places = np.arange(new) * (1 / (new / old))
    else:
        places = (np.arange(new) + 0.5) * (old / new)
    found: npt.NDArray[np.intp] = np.minimum(places.astype(np.intp), old - 1)
    return found

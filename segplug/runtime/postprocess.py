"""Turn network outputs into labels, and their probabilities, at the image's own size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import NonfiniteError, UsageError
from segplug.limits import MOST_CLASSES_OF_A_BIT_MASK
from segplug.progress import QuietReporter, Reporter
from segplug.runtime.planes import (
    ResizedPlanes,
    Undefined,
    above,
    argmax,
    each_above,
    of_label,
    resize_labels,
    sigmoid,
    winner,
)
from segplug.runtime.sizes import Geometry

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.engine import EngineSpec
    from segplug.model import ModelMeta

__all__ = [
    "NetworkOutput",
    "Postprocessor",
    "Prediction",
    "average_views",
    "mark_ignored",
    "mark_unknown",
    "planes_at_image_size",
    "refuse_many_classes",
    "require_scores",
    "scores_at_image_size",
]


@dataclass(frozen=True)
class NetworkOutput:
    """The network's output for one image."""

    values: npt.NDArray[Any]
    """Scores, float32 ``(C, h, w)``, or unsigned labels ``(H, W)``."""
    geometry: Geometry
    logits: bool = True
    """Whether scores are logits, to which softmax or sigmoid is still to be applied."""
    at_input_size: bool = False
    """Whether the scores have the size of the network's input, whatever size the model's own have."""


@dataclass(frozen=True)
class Prediction:
    """What is predicted for one image, at its own size."""

    labels: npt.NDArray[Any]
    """Unsigned integer ``(H, W)``; bit masks for :attr:`segplug.model.ModelMeta.multilabel`."""
    confidence: npt.NDArray[np.float32] | None = None
    """The probability of each pixel's label, float32 ``(H, W)``, 0 to 1; of a bit mask that of the least sure
    of its classes' decisions. ``None``: not asked for."""
    undefined: Undefined = None
    """The pixels ``(H, W)`` whose scores are not finite: their labels mean nothing, their confidence is 0.
    ``None``: there are none, or the engine gives labels, which cannot tell."""
    logits: npt.NDArray[np.float32] | None = None
    """The scores of every class, float32 ``(C, H, W)``; ``None``: not asked for."""


def refuse_many_classes(meta: ModelMeta) -> None:
    """Raise :class:`UsageError` for a model whose sets of classes no label map holds."""
    if meta.multilabel and meta.out_channels > MOST_CLASSES_OF_A_BIT_MASK:
        raise UsageError(
            f"{meta.name} decides each of {meta.out_channels} classes alone, and a label map holds the sets "
            f"of at most {MOST_CLASSES_OF_A_BIT_MASK} classes",
            hint="its scores can be had: open it with Segplug().open(...), and call engine.run",
        )


def require_scores(spec: EngineSpec, what: str) -> None:
    """Raise :class:`UsageError` if the engine gives labels, and ``what`` needs the scores of every class."""
    if spec.output != "logits":
        served = spec.input == "image"
        raise UsageError(
            f"{what} needs the scores of every class, but {spec.backend or 'this engine'} gives labels",
            hint="ask the server: ?output=confidence, ?unknown_below=P; or segplug serve --unknown-below P"
            if served
            else "export it with logits as output (--output-kind logits)",
        )


class Postprocessor:
    """Turns the output of a model into labels: cuts the padding, resizes, takes the best class.

    Args:
        meta: The model's metadata.
        reporter: Gets one warning if labels are resized.
        confidence: Whether to compute the probability of each label; the engine gives scores then.
        allow_nonfinite: Give labels to images whose scores are not finite, too; the prediction says where.

    Raises:
        UsageError: a pixel may have several classes, and there are too many for a label map.
    """

    def __init__(
        self,
        meta: ModelMeta,
        reporter: Reporter | None = None,
        *,
        confidence: bool = False,
        allow_nonfinite: bool = False,
    ) -> None:
        refuse_many_classes(meta)
        self._meta = meta
        self._reporter = reporter or QuietReporter()
        self._confidence = confidence
        self._allow_nonfinite = allow_nonfinite
        self._warned = False

    def __call__(self, output: NetworkOutput, name: str = "") -> Prediction:
        """The labels of one image: of the largest score the channel, the first of equals; for a single
        channel 1 where the probability is above the threshold; for channels that are decided one by one the
        bit of each whose probability is above it.

        Args:
            output: The network's output.
            name: The name of the image in messages.

        Raises:
            NonfiniteError: the largest score of some pixels is NaN or infinite, or any score where each
                channel is decided alone, and that is not allowed.
        """
        geometry = output.geometry
        if output.values.ndim == 2:
            return Prediction(self._labels(output.values, geometry))
        planes = planes_at_image_size(output, self._meta)
        prediction = self._decided(planes, output.logits)
        if prediction.undefined is not None and not self._allow_nonfinite:
            raise _nonfinite(prediction.undefined, name)
        if geometry.flip is None:
            return prediction
        confidence, undefined = prediction.confidence, prediction.undefined
        return Prediction(
            _mirrored(prediction.labels, geometry),
            None if confidence is None else _mirrored(confidence, geometry),
            None if undefined is None else _mirrored(undefined, geometry),
        )

    def _decided(self, planes: Any, logits: bool) -> Prediction:
        if len(planes) == 1:
            plane = planes[0]
            marks, undefined = above(plane, self._meta.threshold, logits=logits)
            if not self._confidence:
                return Prediction(marks, None, undefined)
            confidence = of_label(plane, marks, logits=logits)
            if undefined is not None:
                confidence[undefined] = 0
            return Prediction(marks, confidence, undefined)
        if self._meta.multilabel:
            threshold = self._meta.threshold
            return Prediction(*each_above(planes, threshold, logits=logits, confidence=self._confidence))
        if self._confidence:
            return Prediction(*winner(planes, logits=logits))
        labels, undefined = argmax(planes)
        return Prediction(labels, None, undefined)

    def _labels(self, labels: npt.NDArray[Any], geometry: Geometry) -> npt.NDArray[Any]:
        (height, width), (top, left) = geometry.valid, geometry.offset
        labels = labels[top : top + height, left : left + width]
        if geometry.valid != geometry.original:
            if self._meta.label_resize == "nearest_exact":  # else its own program resizes labels, too
                self._warn_resized()
            labels = resize_labels(labels, geometry.original, self._meta.label_resize)
        return _mirrored(labels, geometry)

    def _warn_resized(self) -> None:
        if self._warned:
            return
        self._warned = True
        self._reporter.warn(
            "the engine gives labels at another size than the image's: they are resized by nearest "
            "neighbour, and scores differ a little; export with logits as output for exact scores"
        )


def _nonfinite(undefined: npt.NDArray[np.bool_], name: str) -> NonfiniteError:
    count, total = int(undefined.sum()), undefined.size
    image = f"the image {name}" if name else "an image"
    return NonfiniteError(
        f"the network gives NaN or infinite scores for {count} of the {total} pixels of {image}: "
        "their labels would mean nothing",
        hint="half precision can overflow: check the artifact with --verify; --allow-nonfinite runs on",
    )


def planes_at_image_size(output: NetworkOutput, meta: ModelMeta) -> Any:
    """The scores without padding, resized bilinearly to the image's own size: a sequence of planes."""
    planes, original = output.values, output.geometry.original
    if output.geometry.valid != output.geometry.network:
        planes = _without_padding(output, meta)
    return planes if planes.shape[1:] == original else ResizedPlanes(planes, original, meta)


def _without_padding(output: NetworkOutput, meta: ModelMeta) -> npt.NDArray[Any]:
    (height, width), (top, left) = output.geometry.valid, output.geometry.offset
    network = output.geometry.network
    stride = 1 if output.at_input_size else meta.output_stride
    fixed = meta.output_size is not None and not output.at_input_size
    inside = any(edge % stride for edge in (height, width, top, left))
    if fixed or inside or (meta.align_corners and stride > 1):
        # Cut at the input's size: the end of the image lies between two scores, or aligned corners are those
        # of the padded input, not of the part that is left.
        return ResizedPlanes(output.values, network, meta).together()[
            :, top : top + height, left : left + width
        ]
    rows, columns = (
        slice(start // stride, (start + edge) // stride) for start, edge in ((top, height), (left, width))
    )
    return output.values[:, rows, columns]


def scores_at_image_size(output: NetworkOutput, meta: ModelMeta) -> npt.NDArray[np.float32]:
    """The scores of an image at its own size, from which its labels are taken, float32 ``(C, H, W)``."""
    planes = planes_at_image_size(output, meta)
    scores = np.empty((len(planes), *output.geometry.original), np.float32)
    for index in range(len(planes)):
        scores[index] = _mirrored(planes[index], output.geometry)
    return scores


def _mirrored(plane: npt.NDArray[Any], geometry: Geometry) -> npt.NDArray[Any]:
    if geometry.flip is None:
        return plane
    turned = plane[..., ::-1] if geometry.flip == "horizontal" else plane[..., ::-1, :]
    return np.ascontiguousarray(turned)


def average_views(views: Iterable[tuple[NetworkOutput, int]], meta: ModelMeta) -> NetworkOutput:
    """Average the probabilities of several views of one image, each at the image's own size.

    Args:
        views: The output of each view, and how often it counts; at least one. They are taken one at a time:
            scores of many classes need gigabytes.
        meta: The model's metadata.

    Returns:
        Probabilities, float32 ``(C, H, W)``, at the image's own size.
    """
    total: npt.NDArray[np.float32] = np.empty((0, 0, 0), np.float32)
    values = total
    weights = 0
    for output, weight in views:
        planes = planes_at_image_size(output, meta)
        if not weights:
            total = np.zeros((len(planes), *output.geometry.original), np.float32)
            values = np.empty_like(total)
        weights += weight
        for index in range(len(planes)):
            values[index] = planes[index]
        if output.logits or meta.tta_activates:
            with np.errstate(invalid="ignore", over="ignore"):
                _activate(values, each=meta.multilabel)
        values *= np.float32(weight)
        for plane, added in zip(total, values, strict=True):
            plane += _mirrored(added, output.geometry)
    total /= weights
    return NetworkOutput(total, Geometry.whole(output.geometry.original), logits=False, at_input_size=True)


def _activate(values: npt.NDArray[np.float32], *, each: bool) -> None:
    """Softmax over the channels, or sigmoid for a single one and for ``each`` that is decided alone, in
    place; NaN where the largest score is not finite.
    """
    if len(values) == 1 or each:
        for plane in values:
            plane[:] = sigmoid(plane + 0 * plane)  # the second is NaN for infinity, which sigmoid hides
        return
    values -= values.max(axis=0)
    np.exp(values, out=values)
    values /= values.sum(axis=0)


def mark_unknown(prediction: Prediction, below: float, ignored: int) -> npt.NDArray[Any]:
    """The labels, with ``ignored`` where the confidence is below ``below``."""
    assert prediction.confidence is not None
    return mark_ignored(prediction.labels, prediction.confidence < below, ignored)


def mark_ignored(labels: npt.NDArray[Any], where: npt.NDArray[np.bool_], ignored: int) -> npt.NDArray[Any]:
    """The labels, with ``ignored`` in some places, in a type that holds it."""
    if not where.any():
        return labels
    fits = ignored <= np.iinfo(labels.dtype).max
    marked = labels.copy() if fits else labels.astype(np.uint16)
    marked[where] = ignored
    return marked

"""Scores as mmsegmentation defines them, from one ``bincount`` per image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import DatasetError, UsageError
from segplug.scores import Counts, Scores

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["METRICS", "check_metrics", "count", "count_bits", "joint_histogram", "score"]

METRICS = ("mIoU", "mDice", "mFscore")
"""The metrics to choose from; ``aAcc`` is always computed, but of bit masks, which have none."""

_BLOCK = 1 << 20
"""Pixels of which bits are counted at a time."""


def count(
    prediction: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    *,
    num_classes: int,
    ignore_index: int,
    name: str,
) -> tuple[Counts, tuple[int, ...]]:
    """Compare one label map with its mask.

    Args:
        prediction: Unsigned integer ``(H, W)``. Labels that are no class count for no class.
        mask: uint8 or uint16 ``(H, W)``. Pixels of ``ignore_index`` are not counted; pixels of other values
            that are no class count only as predictions, as in mmsegmentation.
        num_classes: K. Of one class every pixel counts as predicted and as labelled, and as right where the
            two are equal: mmsegmentation's histogram of one bin holds all values.
        ignore_index: The mask value of pixels to ignore.
        name: The name of the image in messages.

    Returns:
        The counts, and the mask's values that are neither a class nor ``ignore_index``.

    Raises:
        DatasetError: the two are of different sizes.
    """
    if num_classes == 1:
        return _count_one_class(prediction, mask, ignore_index, name), ()
    table = joint_histogram(prediction, mask, num_classes=num_classes, ignore_index=ignore_index, name=name)
    strange = np.flatnonzero(table[num_classes:].any(axis=1)) + num_classes
    inside = table[:num_classes, :num_classes]
    labelled = table[:num_classes].sum(axis=1)
    counts = Counts(
        intersect=np.diagonal(inside).astype(np.uint64),
        prediction=table[:, :num_classes].sum(axis=0).astype(np.uint64),
        label=labelled.astype(np.uint64),
    )
    return counts, tuple(int(value) for value in strange)


def count_bits(
    prediction: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    *,
    num_classes: int,
    ignore_index: int,
    name: str,
) -> Counts:
    """Compare one bit mask with its truth, each class alone, as ``get_stats(..., mode="multilabel")`` of
    segmentation-models-pytorch does.

    Args:
        prediction: Unsigned integer ``(H, W)``: bit ``c`` is set where class ``c`` is. Values that are no set
            of the classes (unknown pixels) count for no class.
        mask: uint8 or uint16 ``(H, W)``, of the same form. Pixels of ``ignore_index`` are not counted.
        num_classes: K.
        ignore_index: The mask value of pixels to ignore.
        name: The name of the image in messages.

    Raises:
        DatasetError: the two are of different sizes, or the mask has a bit that is no class.
    """
    _check_sizes(prediction, mask, name)
    sets = 1 << num_classes
    tables = np.zeros((3, sets), np.int64)
    predicted, labelled = prediction.reshape(-1), mask.reshape(-1)
    for start in range(0, labelled.size, _BLOCK):
        truth, found = labelled[start : start + _BLOCK], predicted[start : start + _BLOCK]
        kept = truth != ignore_index
        truth, found = truth[kept], found[kept]
        if (most := int(truth.max(initial=0))) >= sets:
            raise DatasetError(
                f"the mask of {name} has the value {most}, and a bit mask of {num_classes} classes has "
                f"values from 0 to {sets - 1}, or the ignored {ignore_index}",
                hint="bit c of a mask, the value 1 << c, says whether class c is at the pixel",
            )
        found = np.where(found < sets, found, 0)
        for table, values in zip(tables, (truth & found, found, truth), strict=True):
            table += np.bincount(values, minlength=sets)
    members = np.arange(sets)[:, None] >> np.arange(num_classes) & 1
    return Counts(*(tables @ members).astype(np.uint64))


def _count_one_class(
    prediction: npt.NDArray[Any], mask: npt.NDArray[Any], ignore_index: int, name: str
) -> Counts:
    _check_sizes(prediction, mask, name)
    kept = mask != ignore_index
    equal, all_of_them = int((kept & (prediction == mask)).sum()), int(kept.sum())
    return Counts(*(np.array([number], np.uint64) for number in (equal, all_of_them, all_of_them)))


def _check_sizes(prediction: npt.NDArray[Any], mask: npt.NDArray[Any], name: str) -> None:
    if prediction.shape != mask.shape:
        raise DatasetError(
            f"the mask of {name} is {mask.shape[0]}x{mask.shape[1]} (height x width), "
            f"the image {prediction.shape[0]}x{prediction.shape[1]}"
        )


def joint_histogram(
    prediction: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    *,
    num_classes: int,
    ignore_index: int,
    name: str,
) -> npt.NDArray[np.int64]:
    """How often each (mask value, predicted label) occurs; at least K rows and K columns.

    Arguments and errors are those of :func:`count`. The row of ``ignore_index`` is all zero; rows from K on
    are mask values that are no class, columns from K on labels that are no class.
    """
    _check_sizes(prediction, mask, name)
    if mask.dtype != np.uint8:  # without them, the table stays as small as the classes
        kept = mask != ignore_index
        prediction, mask = prediction[kept], mask[kept]
    table = _joint_histogram(prediction, mask, num_classes)
    if 0 <= ignore_index < len(table):
        table[ignore_index] = 0
    return table


def _joint_histogram(
    prediction: npt.NDArray[Any], mask: npt.NDArray[Any], num_classes: int
) -> npt.NDArray[np.int64]:
    rows = max(256, num_classes)
    if prediction.dtype == np.uint8 and mask.dtype == np.uint8 and num_classes <= 256:
        columns = 256
        joint: npt.NDArray[Any] = mask.astype(np.uint16)
        joint <<= 8
        joint |= prediction
    else:
        rows = max(rows, int(mask.max(initial=0)) + 1)
        columns = num_classes + 1
        joint = mask.astype(np.intp)
        joint *= columns
        predicted = prediction.astype(np.intp)  # first: 256 classes are no uint8
        joint += np.minimum(predicted, num_classes, out=predicted)
    table = np.bincount(joint.reshape(-1), minlength=rows * columns)
    return table.reshape(rows, columns)


def check_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics to compute, each once.

    Raises:
        UsageError: the list is empty, or holds an unknown metric.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise UsageError(f"there is no metric '{metric}'", hint=f"there are: {', '.join(METRICS)}")
    if not metrics:
        raise UsageError("no metric is asked for", hint=f"there are: {', '.join(METRICS)}")
    return tuple(dict.fromkeys(metrics))


def score(
    parts: Sequence[tuple[str, Counts]],
    *,
    classes: Sequence[str],
    images: int,
    metrics: Sequence[str] = ("mIoU",),
    nan_to_num: float | None = None,
    beta: float = 1.0,
    multilabel: bool = False,
) -> Scores:
    """Metrics from counts.

    Args:
        parts: Name and counts of each part of the data set; one part for an ordinary one.
        classes: K names.
        images: How many images were counted.
        metrics: Some of :data:`METRICS`.
        nan_to_num: The value for absent classes; ``None``: NaN, left out of means.
        beta: Weight of recall in ``mFscore``.
        multilabel: The counts are those of bit masks: there is no ``aAcc``, since a pixel that has some of
            its classes is neither right nor wrong.
    """
    wanted = check_metrics(metrics)
    pooled = sum((counts for _, counts in parts), Counts.zeros(len(classes)))
    accuracy, per_class = _per_class(pooled, wanted, nan_to_num, beta, multilabel)
    flat = _flat(None if multilabel else accuracy, per_class, classes, prefix="")
    if len(parts) > 1:
        for number, (_, counts) in enumerate(parts):
            part_accuracy, of_part = _per_class(counts, wanted, nan_to_num, beta, multilabel)
            flat |= _flat(None if multilabel else part_accuracy, of_part, classes, prefix=f"{number}_")
    return Scores(
        metrics=flat,
        classes=tuple(classes),
        per_class={name: tuple(values.tolist()) for name, values in per_class.items()},
        counts=pooled,
        images=images,
        parts=tuple(name for name, _ in parts) if len(parts) > 1 else (),
    )


def _per_class(
    counts: Counts, metrics: Sequence[str], nan_to_num: float | None, beta: float, multilabel: bool
) -> tuple[float, dict[str, npt.NDArray[np.float64]]]:
    hit, predicted, labelled = (
        values.astype(np.float64) for values in (counts.intersect, counts.prediction, counts.label)
    )
    found: dict[str, npt.NDArray[np.float64]] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        accuracy = hit.sum() / labelled.sum()
        if "mIoU" in metrics:
            found["IoU"] = hit / (predicted + labelled - hit)
        if "mDice" in metrics:
            found["Dice"] = 2 * hit / (predicted + labelled)
        if "mIoU" in metrics or "mDice" in metrics:
            found["Acc"] = hit / labelled
        if "mFscore" in metrics:
            precision, recall = hit / predicted, hit / labelled
            if multilabel:  # from the counts, as smp does: 0 for a class that is never found
                found["Fscore"] = (1 + beta**2) * hit / (beta**2 * labelled + predicted)
            else:  # as mmsegmentation, which knows no value there
                found["Fscore"] = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
            found["Precision"], found["Recall"] = precision, recall
    if nan_to_num is not None:
        accuracy = np.nan_to_num(accuracy, nan=nan_to_num)
        found = {name: np.nan_to_num(values, nan=nan_to_num) for name, values in found.items()}
    return float(accuracy), found


def _flat(
    accuracy: float | None,
    per_class: Mapping[str, npt.NDArray[np.float64]],
    classes: Sequence[str],
    *,
    prefix: str,
) -> dict[str, float]:
    flat = {} if accuracy is None else {f"{prefix}aAcc": accuracy}
    for name, values in per_class.items():
        present = values[~np.isnan(values)]
        flat[f"{prefix}m{name}"] = float(present.mean()) if present.size else math.nan
    for name, values in per_class.items():
        for label, value in zip(classes, values.tolist(), strict=True):
            flat[f"{prefix}{name}.{label}"] = value
    return flat

"""The confusion matrix: counted image by image, normalised, with its most confused pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from segplug.dataset import Dataset
from segplug.errors import DatasetError
from segplug.preprocessing import Decoding
from segplug.progress import Reporter
from segplug.runtime.postprocess import mark_ignored
from segplug.runtime.score import joint_histogram, score
from segplug.scores import Counts, Scores
from segplug_analysis.confusion.results import LabelMaps
from segplug_analysis.nodata import pixels_without_data

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Confusion", "Normalize", "Pair", "count_confusion"]

Normalize = Literal["true", "prediction", "all", "none"]


@dataclass(frozen=True)
class Pair:
    """Pixels of one class that were predicted as another."""

    truth: str
    predicted: str
    pixels: int
    share_of_truth: float
    """Fraction of the true class's pixels."""
    share_of_errors: float
    """Fraction of all wrong pixels."""


@dataclass(frozen=True)
class Confusion:
    """Pixels of each (true, predicted) pair of classes, without ignored pixels."""

    classes: tuple[str, ...]
    pixels: npt.NDArray[np.int64]
    """``(K, K)``: rows are true classes, columns predicted classes."""
    outside: npt.NDArray[np.int64]
    """``(K,)``: predictions for pixels whose mask value is no class. They count as wrong."""
    missed: npt.NDArray[np.int64]
    """``(K,)``: pixels of each true class whose prediction is the ignored label: unknown ones."""
    images: int

    @property
    def counts(self) -> Counts:
        """The counts in the form of :mod:`segplug.runtime.score`."""
        return Counts(
            intersect=np.diagonal(self.pixels).astype(np.uint64),
            prediction=(self.pixels.sum(axis=0) + self.outside).astype(np.uint64),
            label=(self.pixels.sum(axis=1) + self.missed).astype(np.uint64),
        )

    def scores(self) -> Scores:
        """segplug's scores of the same labels: IoU, accuracy (recall) and precision of each class."""
        return score(
            [("", self.counts)], classes=self.classes, images=self.images, metrics=("mIoU", "mFscore")
        )

    def normalized(self, by: Normalize) -> npt.NDArray[np.float64]:
        """Pixels divided by those of the true class, of the predicted class, or by all; NaN: none.

        ``none`` gives pixels.
        """
        pixels = self.pixels.astype(np.float64)
        totals = {
            "true": self.counts.label.astype(np.float64)[:, None],
            "prediction": self.counts.prediction.astype(np.float64)[None, :],
            "all": np.array(pixels.sum()),
            "none": np.array(1.0),
        }[by]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(totals > 0, pixels / totals, np.nan)

    def pairs(self, top: int) -> tuple[Pair, ...]:
        """The ``top`` pairs of different classes with the most pixels, the largest first."""
        wrong = self.pixels.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:top]
        rows, columns = np.unravel_index(order, wrong.shape)
        labelled, errors = self.counts.label.astype(np.int64), int(wrong.sum())
        return tuple(
            Pair(
                truth=self.classes[row],
                predicted=self.classes[column],
                pixels=int(wrong[row, column]),
                share_of_truth=float(wrong[row, column] / labelled[row]),
                share_of_errors=float(wrong[row, column] / errors),
            )
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            if wrong[row, column]
        )


def count_confusion(
    results: LabelMaps, dataset: Dataset, classes: Sequence[str], reporter: Reporter
) -> Confusion:
    """Compare every result with its mask, one image in memory at a time.

    Where an image has no data, its mask is ignored, as ``segplug infer`` does.

    Raises:
        DatasetError: a mask cannot be read; a result is of another size than its mask, or holds a
            label that is no class.
    """
    size, ignored = len(classes), dataset.info.ignore_index
    pixels = np.zeros((size, size), np.int64)
    outside, missed = np.zeros(size, np.int64), np.zeros(size, np.int64)
    strange: set[int] = set()
    with reporter.progress("comparing", len(dataset)) as progress:
        for index in range(len(dataset)):
            name = dataset.name(index)
            labels, mask = results.labels(index), dataset.read_mask(index)
            unknown = labels == ignored
            _check_labels(labels, mask, unknown, size, name, dataset.info.name)
            if unknown.any():
                mask = _without_nodata(mask, dataset, index)
            table = joint_histogram(
                np.where(unknown, size, labels).astype(np.uint8 if size < 256 else np.uint16),
                mask,
                num_classes=size,
                ignore_index=ignored,
                name=name,
            )
            pixels += table[:size, :size]
            outside += table[size:, :size].sum(axis=0)
            missed += table[:size, size:].sum(axis=1)
            strange.update((np.flatnonzero(table[size:].any(axis=1)) + size).tolist())
            progress.advance()
    if strange:
        reporter.warn(
            f"masks hold values that are neither a class nor the ignored {ignored}: "
            f"{', '.join(map(str, sorted(strange)))}; such pixels count as wrong predictions and as no label"
        )
    return Confusion(tuple(classes), pixels, outside, missed, len(dataset))


def _without_nodata(mask: npt.NDArray[Any], dataset: Dataset, index: int) -> npt.NDArray[Any]:
    """The mask, ignored where the image has no data. Only then a result has the ignored label there."""
    image = dataset.read_image(index, Decoding(library="bands", color="unchanged"))
    return mark_ignored(mask, pixels_without_data(image), dataset.info.ignore_index)


def _check_labels(
    labels: npt.NDArray[np.integer],
    mask: npt.NDArray[Any],
    unknown: npt.NDArray[np.bool_],
    size: int,
    name: str,
    dataset: str,
) -> None:
    if labels.shape != mask.shape:
        raise DatasetError(
            f"the result of {name} is {labels.shape[0]}x{labels.shape[1]} (height x width), "
            f"its mask {mask.shape[0]}x{mask.shape[1]}"
        )
    known = labels[~unknown]
    lowest, highest = int(known.min(initial=0)), int(known.max(initial=0))
    if lowest < 0 or highest >= size:
        raise DatasetError(
            f"the result of {name} holds the label {lowest if lowest < 0 else highest}, and the data set "
            f"{dataset} has {size} classes (0 to {size - 1})",
            hint="name the data set of these predictions; bit masks of several classes at one pixel have no "
            "confusion matrix",
        )

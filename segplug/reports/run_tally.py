"""What the report of a run keeps while it goes on: counts of labels, and which images to show."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.legend import count_labels
from segplug.runtime.score import count_bits, joint_histogram
from segplug.scores import Counts
from segplug.sink import ImageResult, Notes

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.dataset import DatasetInfo

__all__ = ["Choice", "Compared", "ComparedBits", "Predicted", "PredictedBits", "Ranked"]

_MOST_PIXELS = 1 << 48
"""Of an image: a larger number in a note is none that this module wrote."""


@dataclass(frozen=True)
class Choice:
    """Whether the page shows an image, as far as is known by now."""

    kept: bool
    dropped: tuple[int, ...] = ()
    """The images that the page shows no more because of it."""


class Predicted:
    """The pixels of each label, for images without masks; the images to show are evenly spread.

    Args:
        labels: Number of labels.
        images: How many images there are.
        shown: How many to show.
    """

    def __init__(self, labels: int, images: int, shown: int) -> None:
        self.labels = labels
        places = np.linspace(0, images - 1, min(shown, images)) if images else ()
        self.shown = tuple(round(float(place)) for place in places)
        """The images to show, in order."""
        self.pixels = np.zeros(labels + 1, np.int64)
        """Of each label, and of values that are no label."""

    def count(self, result: ImageResult) -> Notes:
        """The pixels of each label in one image; they are not added yet."""
        counts = count_labels(result.labels)
        counts.resize(max(counts.size, self.labels + 1), refcheck=False)
        return {"pixels": [*counts[: self.labels].tolist(), int(counts[self.labels :].sum())]}

    def are_notes(self, notes: Notes) -> bool:
        """Whether :meth:`count` may have given these notes."""
        counts = notes.get("pixels")
        return isinstance(counts, list) and len(counts) == len(self.pixels) and all(map(_is_count, counts))

    def add(self, index: int, notes: Notes) -> Choice:
        """Add the notes of one image."""
        self.pixels += np.array(notes["pixels"], np.int64)
        return Choice(index in self.shown)


class PredictedBits(Predicted):
    """The same for bit masks: a pixel counts for each of its classes, and for ``no class`` if it has none.

    Args:
        classes: Number of classes.
        images: As for :class:`Predicted`.
        shown: As for :class:`Predicted`.
    """

    def __init__(self, classes: int, images: int, shown: int) -> None:
        super().__init__(classes + 1, images, shown)
        self.all = 0
        """The pixels of all images."""

    def count(self, result: ImageResult) -> Notes:
        """The pixels of each class, of none and of unknown ones, and of all; they are not added yet."""
        classes = self.labels - 1
        counts = count_labels(result.labels)
        known = counts[: 1 << classes]
        members = np.arange(len(known))[:, None] >> np.arange(classes) & 1
        found = [*(known @ members).tolist(), int(known[:1].sum()), int(counts[len(known) :].sum())]
        return {"pixels": found, "all": int(counts.sum())}

    def are_notes(self, notes: Notes) -> bool:
        """Whether :meth:`count` may have given these notes."""
        return super().are_notes(notes) and _is_count(notes.get("all"))

    def add(self, index: int, notes: Notes) -> Choice:
        """Add the notes of one image."""
        self.all += notes["all"]
        return super().add(index, notes)


@dataclass(frozen=True, order=True)
class Ranked:
    """An image and its mIoU."""

    score: float
    index: int


class Ranking:
    """The counts of each part of a data set, and the images of lowest and highest mIoU.

    Args:
        info: The data set.
        classes: Number of its classes, K.
        images: How many images it has.
        worst: How many images with the lowest mIoU to show.
        best: How many with the highest.
    """

    def __init__(self, info: DatasetInfo, classes: int, images: int, *, worst: int, best: int) -> None:
        self._ignored = info.ignore_index
        self._classes = classes
        parts = info.parts or ((info.name, images),)
        self.parts = tuple((name, Counts.zeros(classes)) for name, _ in parts)
        """The name and the counts of each part of the data set."""
        self._ends = np.cumsum([length for _, length in parts])
        self._most_worst, self._most_best = worst, best
        self._worst: list[Ranked] = []
        self._best: list[Ranked] = []

    @property
    def worst(self) -> tuple[Ranked, ...]:
        """The images with the lowest mIoU, the lowest first."""
        return tuple(self._worst)

    @property
    def best(self) -> tuple[Ranked, ...]:
        """Those with the highest, the highest first, without such that are among the lowest."""
        return tuple(image for image in reversed(self._best) if image not in self._worst)

    def _added(self, index: int, counts: Counts, score: float) -> Choice:
        """Add the counts of one image, and rank it by its mIoU; NaN: it has none."""
        totals = self.parts[int(np.searchsorted(self._ends, index, side="right"))][1]
        for total, more in (
            (totals.intersect, counts.intersect),
            (totals.prediction, counts.prediction),
            (totals.label, counts.label),
        ):
            total += more
        return Choice(False) if math.isnan(score) else self._rank(Ranked(score, index))

    def _rank(self, image: Ranked) -> Choice:
        before = {shown.index for shown in (*self._worst, *self._best)}
        bisect.insort(self._worst, image)
        bisect.insort(self._best, image)
        del self._worst[self._most_worst :]
        del self._best[: max(len(self._best) - self._most_best, 0)]
        after = {shown.index for shown in (*self._worst, *self._best)}
        return Choice(image.index in after, tuple(before - after))


class Compared(Ranking):
    """The pixels of each pair of a true and a predicted label; shows the images of lowest and highest mIoU.

    The arguments are those of :class:`Ranking`.
    """

    def __init__(self, info: DatasetInfo, classes: int, images: int, *, worst: int, best: int) -> None:
        super().__init__(info, classes, images, worst=worst, best=best)
        self.labels = max(classes, 2)
        """Of one class there are two: the class, and what is not the class."""
        self.pairs = np.zeros((self.labels + 1, self.labels + 1), np.int64)
        """Rows are true labels, columns predicted ones; the last ones are of values that are no label."""

    def count(self, result: ImageResult) -> Notes:
        """The pairs that occur: true label, predicted label, pixels. Those that the mask ignores are not."""
        assert result.mask is not None
        size = self.labels
        table = joint_histogram(
            result.labels, result.mask, num_classes=size, ignore_index=self._ignored, name=result.name
        )
        pairs = np.zeros_like(self.pairs)
        pairs[:size, :size] = table[:size, :size]
        pairs[size, :size] = table[size:, :size].sum(axis=0)
        pairs[:size, size] = table[:size, size:].sum(axis=1)
        pairs[size, size] = table[size:, size:].sum()
        rows, columns = np.nonzero(pairs)
        return {"pairs": np.stack([rows, columns, pairs[rows, columns]], axis=1).tolist()}

    def are_notes(self, notes: Notes) -> bool:
        """Whether :meth:`count` may have given these notes."""
        pairs = notes.get("pairs")
        return isinstance(pairs, list) and all(
            isinstance(row, list)
            and len(row) == 3
            and all(map(_is_count, row))
            and max(row[:2]) <= self.labels
            for row in pairs
        )

    def add(self, index: int, notes: Notes) -> Choice:
        """Add the notes of one image."""
        table = np.array(notes["pairs"], np.int64).reshape(-1, 3)
        truth, predicted, pixels = table.T
        pairs = np.zeros_like(self.pairs)
        np.add.at(pairs, (truth, predicted), pixels)
        self.pairs += pairs
        return self._added(index, self._as_counts(pairs), _mean_iou(pairs))

    def _as_counts(self, pairs: npt.NDArray[np.int64]) -> Counts:
        """The counts of :func:`segplug.runtime.score.count`."""
        size = self.labels
        if self._classes == 1:  # mmseg counts every pixel as the class
            numbers = (np.trace(pairs[:size, :size]), pairs.sum(), pairs.sum())
            return Counts(*(np.array([number], np.uint64) for number in numbers))
        found = (np.diagonal(pairs)[:size], pairs[:, :size].sum(axis=0), pairs[:size].sum(axis=1))
        return Counts(*(values.astype(np.uint64) for values in found))


class ComparedBits(Ranking):
    """The pixels of each class of bit masks: in both, in the prediction, in the truth.

    The arguments are those of :class:`Ranking`.
    """

    def __init__(self, info: DatasetInfo, classes: int, images: int, *, worst: int, best: int) -> None:
        super().__init__(info, classes, images, worst=worst, best=best)
        self.labels = classes
        self.all = 0
        """The pixels of all images that their masks do not ignore."""

    def count(self, result: ImageResult) -> Notes:
        """The counts of each class, and the pixels that are counted; they are not added yet."""
        assert result.mask is not None
        counts = count_bits(
            result.labels,
            result.mask,
            num_classes=self._classes,
            ignore_index=self._ignored,
            name=result.name,
        )
        rows = np.stack([counts.intersect, counts.prediction, counts.label], axis=1)
        return {"classes": rows.tolist(), "all": int((result.mask != self._ignored).sum())}

    def are_notes(self, notes: Notes) -> bool:
        """Whether :meth:`count` may have given these notes."""
        rows = notes.get("classes")
        return (
            _is_count(notes.get("all"))
            and isinstance(rows, list)
            and len(rows) == self._classes
            and all(isinstance(row, list) and len(row) == 3 and all(map(_is_count, row)) for row in rows)
        )

    def add(self, index: int, notes: Notes) -> Choice:
        """Add the notes of one image."""
        self.all += notes["all"]
        intersect, prediction, label = np.array(notes["classes"], np.uint64).T
        union = prediction + label - intersect
        occurs = union > 0
        score = float((intersect[occurs] / union[occurs]).mean()) if occurs.any() else math.nan
        return self._added(index, Counts(intersect, prediction, label), score)


def _mean_iou(pairs: npt.NDArray[np.int64]) -> float:
    """The mIoU over the labels that the mask or the prediction of an image has; NaN: it has none."""
    right = np.diagonal(pairs)[:-1]
    union = (pairs.sum(axis=0) + pairs.sum(axis=1))[:-1] - right
    occurs = union > 0
    return float((right[occurs] / union[occurs]).mean()) if occurs.any() else math.nan


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST_PIXELS

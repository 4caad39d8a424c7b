"""The sink for scores; the sinks of :mod:`~segplug.runtime.pictures` can be imported from here, too.

:mod:`~segplug.runtime.raw` and :mod:`~segplug.runtime.display` have the others. All implement
:class:`~segplug.sink.Sink`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import UsageError
from segplug.options import require_number
from segplug.runtime.folder import LAYOUT
from segplug.runtime.pictures import ColourMapSink, LabelMapSink, PaintSink
from segplug.runtime.score import check_metrics, count, count_bits, score
from segplug.scores import Counts, Scores
from segplug.sink import ImageResult, Notes, RunContext, Sink

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "ColourMapSink",
    "ImageResult",
    "LabelMapSink",
    "PaintSink",
    "RunContext",
    "ScoreSink",
    "Sink",
    "require_same_classes",
]


class ScoreSink:
    """Counts pixels and computes scores at the end.

    Args:
        metrics: Some of ``mIoU``, ``mDice``, ``mFscore``.
        nan_to_num: The value for absent classes; ``None``: the data set's, which is NaN if it has none.
        beta: Weight of recall in ``mFscore``; ``None``: the data set's.
    """

    needs_image = False
    needs_mask = True
    needs_confidence = False

    def __init__(
        self,
        metrics: Sequence[str] = ("mIoU",),
        *,
        nan_to_num: float | None = None,
        beta: float | None = None,
    ) -> None:
        self._metrics = check_metrics(metrics)
        require_number("nan_to_num", nan_to_num)
        require_number("beta", beta)
        if beta is not None and not beta > 0:
            raise UsageError(f"beta must be above 0, not {beta}")
        self._nan_to_num = nan_to_num
        self._beta = beta
        self._strange: set[int] = set()
        self._seen_ignored = False
        """Whether a mask has ignored pixels, and of no class but the first."""
        self.scores: Scores | None = None
        """Set when the run is finished."""

    @property
    def key(self) -> str:
        # Counts do not depend on the metrics: a resumed run may compute others.
        return "scores"

    def open(self, run: RunContext) -> None:
        info = run.dataset.info
        if not info.has_masks:
            raise UsageError(
                f"the data set {info.name} has no masks, so there is nothing to score against",
                hint=info.masks_hint or LAYOUT,
            )
        require_same_classes(run)
        self._classes, self._info = run.classes, info
        if info.classes and run.meta.classes and info.classes != run.meta.classes:
            differing = next(
                f"{ours} and {theirs}"
                for ours, theirs in zip(run.meta.classes, info.classes, strict=True)
                if ours != theirs
            )
            run.reporter.warn(f"the model and the data set name their classes differently: {differing}")
        self._multilabel = run.meta.multilabel
        # Of bit masks it must be none of the sets, which raises.
        self._ignore_index = run.ignored if self._multilabel else info.ignore_index
        self._reporter = run.reporter
        parts = info.parts or ((info.name, len(run.dataset)),)
        self._names = tuple(name for name, _ in parts)
        self._totals = [Counts.zeros(len(self._classes)) for _ in parts]
        self._ends = np.cumsum([length for _, length in parts])
        self._images = 0

    def consume(self, result: ImageResult) -> Notes:
        assert result.mask is not None
        given: dict[str, Any] = {
            "num_classes": len(self._classes),
            "ignore_index": self._ignore_index,
            "name": result.name,
        }
        if self._multilabel:
            counts = count_bits(result.labels, result.mask, **given)
            self._note_ignored(counts.label, result.mask)
            self._add(result.index, counts)
            return _sparse(counts)
        counts, strange = count(result.labels, result.mask, **given)
        self._note_ignored(counts.label[1:], result.mask)
        if strange and not self._strange:
            self._reporter.warn(
                f"masks hold values that are neither a class nor the ignored {self._ignore_index}: "
                f"{', '.join(map(str, strange))} (first in the mask of {result.name}); such pixels count "
                "as wrong predictions and as no label"
            )
        self._strange.update(strange)
        self._add(result.index, counts)
        return _sparse(counts)

    def has(self, index: int, notes: Notes) -> bool:
        return _dense(notes, len(self._classes)) is not None  # the notes are the whole result

    def restore(self, index: int, notes: Notes) -> None:
        counts = _dense(notes, len(self._classes))
        assert counts is not None
        self._add(index, counts)

    def _add(self, index: int, counts: Counts) -> None:
        self._totals[int(np.searchsorted(self._ends, index, side="right"))] += counts
        self._images += 1

    def close(self, *, finished: bool) -> None:
        if finished:
            self.scores = score(
                list(zip(self._names, self._totals, strict=True)),
                classes=self._classes,
                images=self._images,
                metrics=self._metrics,
                nan_to_num=self._info.nan_to_num if self._nan_to_num is None else self._nan_to_num,
                beta=self._info.beta if self._beta is None else self._beta,
                multilabel=self._multilabel,
            )
            self._warn_of_ignored()

    def _note_ignored(self, labelled: npt.NDArray[np.uint64], mask: npt.NDArray[Any]) -> None:
        self._seen_ignored |= not labelled.any() and bool((mask == self._ignore_index).any())

    def _warn_of_ignored(self) -> None:
        """Masks of 0 and 255 are usual for two classes, and 255 is no class."""
        first = 0 if self._multilabel else 1
        rest = self._classes[first:]
        if rest and self._seen_ignored and not any(total.label[first:].any() for total in self._totals):
            self._reporter.warn(
                f"the masks have no pixel of {' or '.join(rest[:3])}, and some of "
                f"{self._ignore_index}, which is ignored; if these belong to a class, give them its number"
            )


def require_same_classes(run: RunContext) -> None:
    """Check that the model and the data set have the same number of classes, and masks of one kind.

    Raises:
        UsageError: they do not, or there are none.
    """
    run.require_bit_masks()
    if not run.classes:
        raise UsageError("neither the data set nor the model names the classes")
    predicted = run.meta.num_classes
    if predicted and predicted != len(run.classes):
        raise UsageError(
            f"the model predicts {predicted} classes, the data set {run.dataset.info.name} has "
            f"{len(run.classes)}",
            hint=f"name both: background and {run.classes[0]}"
            if run.meta.out_channels == 1 and len(run.classes) == 1
            else "use the data set that the model was trained for",
        )


def _sparse(counts: Counts) -> Notes:
    """Class index to its three counts, for the classes that occur."""
    rows = zip(counts.intersect.tolist(), counts.prediction.tolist(), counts.label.tolist(), strict=True)
    return {str(label): row for label, row in enumerate(rows) if any(row)}


def _dense(notes: Notes, num_classes: int) -> Counts | None:
    """What :func:`_sparse` was made from; ``None``: it was made from no counts of so many classes."""
    counts = Counts.zeros(num_classes)
    for label, row in notes.items():
        if not (_is_below(label, num_classes) and _is_count(row)):
            return None
        counts.intersect[int(label)], counts.prediction[int(label)], counts.label[int(label)] = row
    return counts


def _is_below(label: str, number: int) -> bool:
    return label.isascii() and label.isdecimal() and len(label) < 10 and int(label) < number


def _is_count(row: Any) -> bool:
    """Whether it is what a class has in an image: right pixels, predicted pixels, pixels of the class."""
    is_row = isinstance(row, list) and len(row) == 3 and all(type(value) is int for value in row)
    return is_row and 0 <= row[0] <= min(row[1:]) and max(row) < 1 << 48

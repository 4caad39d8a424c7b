"""How scores become labels that are compared, and by how much they would have to change to give other labels.

Where a pixel has one label, its margin is the largest minus the second largest logit; of one channel, the
distance from the threshold. Where each class is decided alone, labels are the sets of classes, equal only as
a whole, and the margin is the distance of the least sure class's score from the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["EachAbove", "Largest", "Rule"]


class Rule(Protocol):
    """How scores become labels, and which labels are equal."""

    def decide(self, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """The labels of scores ``(C, rows, W)``, and each pixel's margin ``(rows, W)``."""

    def read(self, labels: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Labels that the candidate gives, ``(rows, W)``, in the form of ``expected``."""

    def equal(self, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Where labels are equal, ``(rows, W)``."""

    def overlap(
        self, one: npt.NDArray[Any], other: npt.NDArray[Any], where: npt.NDArray[np.bool_], channels: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The pixels of each class in both, and in either; only those ``where``."""


@dataclass(frozen=True)
class Largest:
    """A pixel has one label, int64: of the largest score, or of one channel above a threshold."""

    cut: float

    def decide(self, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        return _labels_and_margin(scores, self.cut)

    def read(self, labels: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        return labels.astype(np.int64)

    def equal(self, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        same: npt.NDArray[np.bool_] = one == other
        return same

    def overlap(
        self, one: npt.NDArray[Any], other: npt.NDArray[Any], where: npt.NDArray[np.bool_], channels: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        classes = max(2, channels)
        one, other = one[where], other[where]
        # One more counts labels that are no class: wrong like any other wrong label.
        other = np.where((other >= 0) & (other < classes), other, classes)
        both, first, second = (
            np.bincount(found, minlength=classes + 1) for found in (one[one == other], one, other)
        )
        return both, first + second - both


@dataclass(frozen=True)
class EachAbove:
    """A pixel has a set of classes, bool ``(C, rows, W)``: of each score above a threshold."""

    cut: float

    def decide(self, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        margin: npt.NDArray[np.float32] = np.abs(scores - np.float32(self.cut)).min(axis=0)
        return scores > self.cut, margin

    def read(self, labels: npt.NDArray[Any], expected: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        bits, values = np.arange(len(expected))[:, None, None], labels.astype(np.int64)
        strange = (values < 0) | (values >= 1 << len(expected))  # no set of the classes: equal to none
        return np.where(strange, ~expected, (values >> bits & 1).astype(np.bool_))

    def equal(self, one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        same: npt.NDArray[np.bool_] = (one == other).all(axis=0)
        return same

    def overlap(
        self, one: npt.NDArray[Any], other: npt.NDArray[Any], where: npt.NDArray[np.bool_], channels: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return (one & other & where).sum(axis=(1, 2)), ((one | other) & where).sum(axis=(1, 2))


def _labels_and_margin(
    logits: npt.NDArray[np.float32], cut: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The label of each pixel, and the margin: how much larger its logit is than the second largest."""
    if logits.shape[0] == 1:
        return (logits[0] > cut).astype(np.int64), np.abs(logits[0] - np.float32(cut))
    labels = np.zeros(logits.shape[1:], dtype=np.int64)
    first, second = logits[0].copy(), np.full(logits.shape[1:], -np.inf, dtype=np.float32)
    for label, plane in enumerate(logits[1:], start=1):
        np.maximum(second, np.minimum(first, plane), out=second)
        ahead = plane > first
        labels[ahead] = label
        np.maximum(first, plane, out=first)
    with np.errstate(invalid="ignore"):  # two infinities: the margin is NaN, and the difference fails anyway
        return labels, first - second

"""What a library itself says of an image, and which pixels of that are sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NEAR", "Image", "Reference", "assert_equal", "mean_iou"]

Image = npt.NDArray[np.uint8]
"""RGB, (H, W, 3)."""

NEAR = 1e-4
"""Two largest scores are nearly equal if they differ by less than this, of the largest score of the image."""


@dataclass(frozen=True)
class Reference:
    """What the library says of an image."""

    labels: npt.NDArray[np.int64]
    """(H, W)."""
    scores: npt.NDArray[np.float32]
    """(C, H, W), at the size of the image."""

    @property
    def largest(self) -> float:
        """The largest score, whatever its sign."""
        return float(np.abs(self.scores).max())

    @property
    def sure(self) -> npt.NDArray[np.bool_]:
        """(H, W): where the two largest scores are not nearly equal."""
        second, first = np.sort(self.scores, axis=0)[-2:]
        sure: npt.NDArray[np.bool_] = first - second > NEAR * self.largest
        return sure


def assert_equal(labels: npt.NDArray[Any], expected: Reference, *, few: float = 0.01) -> int:
    """Compare labels wherever the library is sure, which it is but for ``few`` of the pixels; give the number
    of the others.
    """
    sure = expected.sure
    assert labels.shape == expected.labels.shape
    assert np.array_equal(labels[sure], expected.labels[sure])
    assert sure.mean() > 1 - few
    return int((~sure).sum())


def mean_iou(labels: npt.NDArray[Any], truth: npt.NDArray[Any], classes: int) -> float:
    """Counted here: over the classes that occur in the labels or in the truth."""
    ious = []
    for label in range(classes):
        union = ((labels == label) | (truth == label)).sum()
        if union:
            ious.append(((labels == label) & (truth == label)).sum() / union)
    return float(np.mean(ious))

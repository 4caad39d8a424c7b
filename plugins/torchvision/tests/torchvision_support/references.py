"""What torchvision itself says of images: its preset, its network, and the largest of the entry ``out``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from matrix import torchvision_zoo

__all__ = ["NEAR", "Image", "Reference", "assert_equal", "reference"]

Image = npt.NDArray[np.uint8]
"""RGB, (H, W, 3)."""

NEAR = 1e-4
"""Two largest scores are nearly equal if they differ by less than this, of the largest score of the image."""
_FEW = 0.01
"""Largest share of pixels whose two largest scores are nearly equal."""


@dataclass(frozen=True)
class Reference:
    """What torchvision says of an image."""

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


def reference(network: Any, image: Image, edge: int) -> Reference:
    """Ask torchvision, with an image of Pillow, whose short edge is resized."""
    return Reference(*torchvision_zoo.reference(network, image, edge))


def assert_equal(labels: npt.NDArray[Any], expected: Reference) -> None:
    """Compare labels wherever torchvision is sure."""
    sure = expected.sure
    assert labels.shape == expected.labels.shape
    assert np.array_equal(labels[sure], expected.labels[sure])
    assert sure.mean() > 1 - _FEW

"""Run files with free sizes at sizes that nothing divides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from segplug import Segplug
from segplug.artifact import Artifact

__all__ = ["SCORES", "assert_odd_sizes"]

SCORES = 5e-5
"""Largest difference of scores that is allowed, of the largest score of an image."""
_ODD = ((2, 71, 109), (1, 150, 87), (2, 33, 32), (1, 1, 1), (1, 17, 1))
"""Batch, height and width; the smallest ones are smaller than a network's stride."""


def assert_odd_sizes(artifact: Artifact | Path, network: Any) -> None:
    """Run batches through a file and through torchvision's network, and compare their scores."""
    with Segplug().open(artifact) as engine:
        for batch, height, width in _ODD:
            pixels = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height))
            with torch.no_grad():
                expected = network(pixels)["out"].numpy()
            found = engine.run(pixels.numpy())
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() < SCORES * np.abs(expected).max(), (height, width)

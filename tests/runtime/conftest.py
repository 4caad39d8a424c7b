"""Fixtures of the runtime's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session")
def mmseg() -> Any:
    """The reference: mmsegmentation 0.30 itself."""
    compat = pytest.importorskip("segplug_mmseg.compat")
    return compat.import_mmseg()


@pytest.fixture
def photo() -> Callable[..., np.ndarray]:
    """Makes a smooth picture with noise, uint8 (H, W, 3)."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width]
        base = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], axis=2)
        return np.clip(base + rng.normal(0, 20, base.shape), 0, 255).astype(np.uint8)

    return make

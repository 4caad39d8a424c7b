"""Networks with weights that matter, and how far two answers are apart."""

from __future__ import annotations

import numpy as np
import torch

from segplug.testing import randomise

__all__ = ["distance", "randomised"]


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """Give every weight and statistic a value that an error cannot hide behind (seeded), in eval mode."""
    randomise(module)
    module.eval()  # not chained: some of mmseg's modules return nothing from it
    return module


def distance(expected: object, actual: object) -> float:
    """The largest difference of two answers of one shape, relative to the range of the first."""
    a, b = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in (expected, actual))
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / max(a.max() - a.min(), 1e-12))

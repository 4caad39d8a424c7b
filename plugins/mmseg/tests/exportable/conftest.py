"""Small mmseg networks with weights that matter, and how far two answers are apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from segplug_mmseg.compat import import_mmseg

from segplug.testing import randomise


@pytest.fixture(scope="session", autouse=True)
def mmseg():
    torch.set_num_threads(1)
    return import_mmseg()


@pytest.fixture(scope="session")
def randomised() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Gives every weight and statistic a value that an error cannot hide behind (seeded), in eval mode."""

    def randomised(module: torch.nn.Module) -> torch.nn.Module:
        randomise(module)
        module.eval()  # not chained: some of mmseg's modules return nothing from it
        return module

    return randomised


@pytest.fixture(scope="session")
def distance() -> Callable[[object, object], float]:
    """The largest difference of two answers of one shape, relative to the range of the first."""

    def measure(expected, actual) -> float:
        a, b = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in (expected, actual))
        assert a.shape == b.shape
        return float(np.abs(a - b).max() / max(a.max() - a.min(), 1e-12))

    return measure

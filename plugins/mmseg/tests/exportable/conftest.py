"""Small mmseg networks with weights that matter, and how far two answers are apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from segplug_mmseg.compat import import_mmseg


@pytest.fixture(scope="session", autouse=True)
def mmseg():
    torch.set_num_threads(1)
    return import_mmseg()


@pytest.fixture(scope="session")
def randomised() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Gives every weight and statistic a value that an error cannot hide behind (seeded), in eval mode."""

    def randomise(module: torch.nn.Module) -> torch.nn.Module:
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for part in module.modules():
                if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                    part.running_mean.normal_(0, 0.1, generator=generator)
                    part.running_var.uniform_(0.5, 1.5, generator=generator)
            for name, parameter in module.named_parameters():
                if parameter.dim() > 1:  # keeps the scale of activations from layer to layer
                    spread = 0.5 if "bias" in name else parameter[0].numel() ** -0.5
                    parameter.normal_(0, spread, generator=generator)
                else:
                    parameter.uniform_(0.1, 1.0, generator=generator)
        module.eval()  # not chained: some of mmseg's modules return nothing from it
        return module

    return randomise


@pytest.fixture(scope="session")
def distance() -> Callable[[object, object], float]:
    """The largest difference of two answers of one shape, relative to the range of the first."""

    def measure(expected, actual) -> float:
        a, b = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x) for x in (expected, actual))
        assert a.shape == b.shape
        return float(np.abs(a - b).max() / max(a.max() - a.min(), 1e-12))

    return measure

"""The libraries that hold the foreign networks, and how two networks' features are compared."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

_PROOFS = Path(sys.prefix) / "proofs"
_library = torch.library.Library("torchvision", "FRAGMENT")

TOLERANCE = 1e-4
"""Largest difference of features, relative to their largest value."""


def library(name: str) -> types.ModuleType:
    """timm, torchvision, segmentation_models_pytorch or transformers, from where ``make setup`` puts them."""
    if str(_PROOFS) not in sys.path:
        sys.path.append(str(_PROOFS))
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        # A torchvision that was built for CUDA finds no operators of its own beside a CPU build of torch. Its
        # networks call none of them: that the two have a signature is enough.
        for operator in ("nms", "qnms"):
            _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except ImportError:
        pass
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.fail(f"{name} is not installed, with which the weights are compared ({error}): run make setup")


def seeded(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The network in eval mode with every weight and statistic random, so that no two are alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(noise.abs() + 0.5)
            elif tensor.ndim <= 1 and name.endswith("weight"):
                tensor.copy_(1 + 0.2 * noise)
            elif tensor.ndim >= 2 and name.endswith("weight"):
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            else:
                tensor.copy_(0.2 * noise)
    return network.eval()


def image(height: int, width: int, batch: int = 1, seed: int = 1) -> torch.Tensor:
    """A seeded random image, float32 ``(batch, 3, height, width)``."""
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def assert_same_features(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> None:
    """Every stage has the same shape and, to TOLERANCE, the same values."""
    assert len(ours) == len(theirs)
    for stage, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        assert our.shape == their.shape, f"stage {stage}"
        assert torch.isfinite(our).all()
        difference = ((our - their).abs().max() / their.abs().max()).item()
        assert difference < TOLERANCE, f"stage {stage}: {difference:.2e} of the largest value"

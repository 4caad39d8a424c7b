"""The libraries with the foreign networks, and the comparison of two networks' features."""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts import proofs
from segplug.checkpoint import read_checkpoint

TOLERANCE = 1e-4
"""Largest allowed difference of features, relative to their largest value."""


def library(name: str) -> types.ModuleType:
    """Import a library with foreign networks, such as timm, from where ``make setup`` installs it."""
    proofs.install()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.fail(
            f"{name} is not installed, and the weights are compared with it ({error}): run make setup"
        )


def seeded(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The network in eval mode, with random values in all weights and statistics."""
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


def saved(network: Any, folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a network of transformers, by the names in its files."""
    network.save_pretrained(folder)
    return dict(read_checkpoint(str(folder / "model.safetensors")).state)


def outputs_of(modules: Sequence[torch.nn.Module], run: Callable[[], Any]) -> list[Any]:
    """The outputs of the modules while ``run`` runs the network, in the order of ``modules``."""
    found: dict[int, Any] = {}
    hooks = [
        module.register_forward_hook(
            lambda _module, _inputs, output, place=place: found.update({place: output})
        )
        for place, module in enumerate(modules)
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return [found[place] for place in range(len(modules))]


def difference(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> float:
    """The largest difference of any stage, relative to the largest value of that stage."""
    pairs = zip(ours, theirs, strict=True)
    return max(((our - their).abs().max() / their.abs().max()).item() for our, their in pairs)


def assert_same_features(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> None:
    """Every stage has the same shape and, to TOLERANCE, the same values."""
    assert len(ours) == len(theirs) > 0
    for stage, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        assert our.shape == their.shape, f"stage {stage}"
        assert torch.isfinite(our).all()
        relative = difference([our], [their])
        assert relative < TOLERANCE, f"stage {stage} differs by {relative:.2e} of the largest value"

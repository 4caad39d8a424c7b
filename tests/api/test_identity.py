"""A run of a loaded model is resumed only if the network is the same."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from segplug.api.subjects import identity
from segplug.engine import EngineSpec
from segplug.model import ModelMeta, SegmentationModel
from segplug.testing.engines import FunctionEngine

META = ModelMeta(name="m", classes=("a", "b"), out_channels=2)


def identity_of(module: nn.Module) -> str:
    engine = FunctionEngine(EngineSpec(meta=META, output="logits"), lambda batch: np.zeros(0))
    return identity(SegmentationModel(module, META, exportable=lambda: module), engine)


def network(seed: int, dilation: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 2, 3, dilation=dilation), nn.BatchNorm2d(2))


def test_equal_networks_are_one() -> None:
    assert identity_of(network(0)) == identity_of(network(0))


def test_other_weights_are_another_network() -> None:
    assert identity_of(network(0)) != identity_of(network(1))


def test_another_setting_without_weights_is_another_network() -> None:
    assert identity_of(network(0)) != identity_of(network(0, dilation=2))


def test_every_kind_of_weights_counts() -> None:
    module = network(0).to(torch.bfloat16)
    module.register_buffer("scalar", torch.tensor(1))
    module.register_buffer("empty", torch.empty(0))
    before = identity_of(module)
    module.scalar += 1
    assert identity_of(module) != before

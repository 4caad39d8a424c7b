"""Padding of zeros before a maximum pool, which ONNX Runtime makes the pool's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from segplug import ModelMeta, SegmentationModel, Segplug


class Padded(nn.Module):
    """Values below 0, zeros around them, and their maxima."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([-2.0, -3.0, -4.0])[:, None, None])
        self.pad = nn.ConstantPad2d(1, 0.0)
        self.pool = nn.MaxPool2d(3, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.pool(self.pad(self.shift - images.abs()))
        return scores


@pytest.mark.parametrize("dynamic", [False, True])
def test_the_zeros_count(dynamic: bool, tmp_path: Path) -> None:
    network = Padded().eval()
    meta = ModelMeta(name="m", classes=("a", "b", "c"), out_channels=3)
    model = SegmentationModel(network, meta, lambda: network)
    session = Segplug()
    file = tmp_path / "m.onnx"
    session.export("onnx", model, output=file, shape=(16, 24), dynamic=dynamic, output_kind="logits")
    images = np.random.default_rng(0).normal(size=(1, 3, 16, 24)).astype(np.float32)
    with session.open(file) as engine:
        found = engine.run(images)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    assert expected[:, :, 0].max() == 0
    assert np.array_equal(found, expected)

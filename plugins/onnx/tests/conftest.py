"""Tiny real networks, and artifacts exported from them once for a whole test run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from segplug import Segplug
from segplug.model import Inference, ModelMeta, SegmentationModel
from segplug.preprocessing import usual_steps
from segplug.progress import Reporter
from segplug.results import Artifact

CLASSES = ("sky", "road", "car", "tree")


class TinyNet(nn.Module):
    """Downsamples by two and resizes the logits to the input's size, as segmentation networks do."""

    def __init__(self, channels: int, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(16, channels, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.stem(images))
        return nn.functional.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)


def make_model(network: nn.Module | None = None, **changes: Any) -> SegmentationModel:
    """A model as a source returns it. Its weights do not depend on the order of the tests."""
    if network is None:
        torch.manual_seed(0)
        network = TinyNet(changes.get("out_channels", len(CLASSES)), changes.get("in_channels", 3))
        network.stem[1].running_mean.uniform_(-1, 1)
        network.stem[1].running_var.uniform_(0.5, 2)
    module = network.eval()
    values: dict[str, Any] = {
        "name": "tiny",
        "classes": CLASSES,
        "preprocessing": usual_steps((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
        if changes.get("in_channels", 3) == 3
        else (),
        "input_size": (32, 48),
        "out_channels": len(CLASSES),
    }
    return SegmentationModel(module, ModelMeta(**{**values, **changes}), lambda: module)


@pytest.fixture(scope="session")
def model_of() -> Callable[..., SegmentationModel]:
    return make_model


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """Export a model. Keywords are those of ``Segplug.export``."""

    def run(
        model: SegmentationModel, output: Path | None = None, reporter: Reporter | None = None, **given: Any
    ) -> Artifact:
        output = output or tmp_path_factory.mktemp("export") / "model.onnx"
        return Segplug(reporter=reporter).export("onnx", model, output=output, **given)

    return run


@pytest.fixture(scope="session")
def tiny() -> SegmentationModel:
    return make_model()


@pytest.fixture(scope="session")
def static_labels(export: Callable[..., Artifact], tiny: SegmentationModel) -> Artifact:
    return export(tiny, output_kind="labels")


@pytest.fixture(scope="session")
def dynamic_labels(export: Callable[..., Artifact], tiny: SegmentationModel) -> Artifact:
    return export(tiny, dynamic=True, output_kind="labels")


@pytest.fixture(scope="session")
def slide_logits(export: Callable[..., Artifact]) -> Artifact:
    window = Inference(mode="slide", crop_size=(24, 40), stride=(16, 30))
    return export(make_model(inference=window))


@pytest.fixture(scope="session")
def images() -> Callable[..., np.ndarray]:
    """Normalised images of a given size, the same every time."""

    def make(batch: int, height: int, width: int, channels: int = 3) -> np.ndarray:
        return np.random.default_rng(7).normal(size=(batch, channels, height, width)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def logits_of() -> Callable[..., np.ndarray]:
    """PyTorch's own logits."""

    def run(model: SegmentationModel, batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.module(torch.from_numpy(batch)).numpy()

    return run

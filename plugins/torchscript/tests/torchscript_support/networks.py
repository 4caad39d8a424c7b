"""Networks small enough to trace in a test, each with one thing that a trace can stumble over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from segplug_torchscript import infer_program, infer_torchscript
from torch import nn
from torch.nn import functional as F

from segplug.engine import Engine
from segplug.model import InputLimits, ModelMeta, SegmentationModel
from segplug.requests import InferRequest
from segplug.results import Artifact
from segplug.testing import make_request

CLASSES = ("sky", "road", "car", "tree")
SUFFIXES = {"torchscript": ".pt", "torch-export": ".pt2"}

_BACKENDS = {"torchscript": infer_torchscript.provider, "torch-export": infer_program.provider}


class TinyNet(nn.Module):
    """Downsamples by two and comes back to the input's size, as segmentation networks do."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(16, len(CLASSES), 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.stem(images))
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)


class Strided(nn.Module):
    """Gives the probabilities of one channel, at a quarter of the input's size, rounded up."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(in_channels, 8, 3, stride=2, padding=1)
        self.head = nn.Conv2d(8, 1, 3, stride=2, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.head(self.stem(images).relu()) * 4)


class OneSize(nn.Module):
    """Gives scores of 40x56, whatever the input's size is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.interpolate(images * 2, size=(40, 56), mode="bilinear", align_corners=False)


class Frozen(nn.Module):
    """Takes its size as a Python number, so that a trace keeps that of its sample."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = (int(size) for size in images.shape[2:])
        return F.interpolate(images[:, :, ::2, ::2], size=(height, width), mode="nearest")


class ForSymbols(nn.Module):
    """Written for the symbolic sizes of torch.export: a size under a name of its own, a smallest one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = images.shape[2]
        if not isinstance(rows, int):
            rows = torch.full((), rows, dtype=torch.int64).item()
            torch._check(rows > 1)
        position = torch.arange(rows, device=images.device, dtype=images.dtype)
        kept = torch.sym_min(images.shape[3], 20)
        return images + position[:, None] + images[..., :kept].mean()


class ByValue(nn.Module):
    """Decides by what it sees, which a trace cannot."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * 2 if float(images[0, 0, 0, 0]) > 0 else images - 5


class Halving(nn.Module):
    """Takes multiples of 4 alone: halves its map twice, and doubles it twice."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[2:]
        if isinstance(height, int):
            assert height % 4 == width % 4 == 0, "sizes must be multiples of 4"
        small = F.max_pool2d(F.max_pool2d(images, 2), 2)
        size = (small.shape[2] * 4, small.shape[3] * 4)
        return images + F.interpolate(small, size=size, mode="bilinear", align_corners=False)


def make_model(
    network: nn.Module | None = None, *, limits: InputLimits | None = None, **changes: Any
) -> SegmentationModel:
    """A model as a source would give it, with weights that do not depend on the order of tests."""
    if network is None:
        torch.manual_seed(0)
        network = TinyNet(changes.get("in_channels", 3))
        network.stem[1].running_mean.uniform_(-1, 1)
        network.stem[1].running_var.uniform_(0.5, 2)
    module = network.eval().requires_grad_(False)
    values: dict[str, Any] = {
        "name": "tiny",
        "classes": CLASSES if isinstance(module, TinyNet) else CLASSES[:3],
        "input_size": (32, 48),
        "out_channels": 4 if isinstance(module, TinyNet) else 3,
    }
    meta = ModelMeta(**{**values, **changes})
    return SegmentationModel(module, meta, lambda: module, input_limits=lambda: limits)


def open_engine(artifact: Artifact, **request: Any) -> Engine:
    """The engine of an artifact's own format."""
    return open_file(artifact.path, artifact.format, **request)


def open_file(path: Path, target: str, **request: Any) -> Engine:
    engine: Engine = _BACKENDS[target].infer(make_request(InferRequest, artifact=path, **request))
    return engine


def images(batch: int, height: int, width: int, channels: int = 3) -> npt.NDArray[np.float32]:
    """Normalised images, the same every time."""
    return np.random.default_rng(7).normal(size=(batch, channels, height, width)).astype(np.float32)


def logits_of(model: SegmentationModel, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """PyTorch's own logits."""
    with torch.no_grad():
        logits: npt.NDArray[np.float32] = model.module(torch.from_numpy(batch)).numpy()
    return logits

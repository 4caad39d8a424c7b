"""Networks as other tools save them: scores among other outputs, control flow, frozen sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["NETWORKS", "Body", "save_program", "save_script"]


class Body(nn.Module):
    """Logits at a quarter of the size, rounded up."""

    def __init__(self, classes: int = 3, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Conv2d(8, classes, 1)
        self.aux = nn.Conv2d(8, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.stem(images))


class Dict(Body):
    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.stem(images)
        size = images.shape[-2:]
        out = F.interpolate(self.head(features), size=size, mode="bilinear", align_corners=False)
        return {"out": out, "aux": self.aux(features)}


class Tuple(Body):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.stem(images)
        return self.aux(features), self.head(features)


class Pair(NamedTuple):
    scores: torch.Tensor
    aux: torch.Tensor


class Named(Body):
    def forward(self, images: torch.Tensor) -> Pair:
        features = self.stem(images)
        return Pair(self.head(features), self.aux(features))


class Probabilities(Body):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(3 * self.head(self.stem(images)))


class Padding(Body):
    """Pads to multiples of 8 and cuts: a trace computes with sizes, a script decides by them."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[2], images.shape[3]
        rows, columns = (height + 7) // 8 * 8 - height, (width + 7) // 8 * 8 - width
        scores = self.head(self.stem(F.pad(images, [0, columns, 0, rows])))
        return F.interpolate(scores, scale_factor=4.0, mode="nearest")[:, :, :height, :width]


class Pooling(Body):
    """Pools the whole map and smaller cells, and goes through a list in a loop."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.stem(images)
        size = (features.shape[2], features.shape[3])
        for cells in (1, 2, 3):
            pooled = F.adaptive_avg_pool2d(features, cells)
            features = features + F.interpolate(pooled, size=size, mode="bilinear", align_corners=True)
        return self.head(features)


class BySize(Body):
    """Decides by the size of the image what it computes."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = self.head(self.stem(images))
        return scores * 2 if images.shape[2] > 100 else scores - 1


class ByValue(Body):
    """Decides by what it sees."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = self.head(self.stem(images))
        return scores * 2 if bool(images.mean() > 0.5) else scores - 1


class Counting(Body):
    """Changes itself when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return self.head(self.stem(images))


class Frozen(Body):
    """Has one size of scores, as a trace has that took a size for a number."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.interpolate(super().forward(images), size=(48, 64), mode="bilinear", align_corners=False)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "plain": Body,
    "dict": Dict,
    "tuple": Tuple,
    "named": Named,
    "probabilities": Probabilities,
    "padding": Padding,
    "pooling": Pooling,
    "by size": BySize,
    "by value": ByValue,
    "counting": Counting,
    "frozen": Frozen,
}


def save_script(path: Path, network: nn.Module, *, trace: tuple[int, ...] | None = None) -> nn.Module:
    """Save a scripted network, or one that is traced at a shape, and give the network."""
    network.eval()
    script: Any = (
        torch.jit.script(network)
        if trace is None
        else torch.jit.trace(network, torch.randn(trace), strict=False, check_trace=False)
    )
    torch.jit.save(script, str(path))
    return network


def save_program(path: Path, network: nn.Module, shape: tuple[int, ...], free: Any = None) -> nn.Module:
    """Save a program; ``free`` are its dynamic shapes."""
    program = torch.export.export(network.eval(), (torch.randn(shape),), dynamic_shapes=free)
    torch.export.save(program, str(path))
    return network

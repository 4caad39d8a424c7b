"""A tiny real network, its artifacts, and functions that pack them and read the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf import text_format
from torch import nn
from tritonclient.grpc.model_config_pb2 import ModelConfig

from segplug import Segplug
from segplug.model import META_ENTRY, ModelMeta, SegmentationModel
from segplug.preprocessing import Decoding, usual_steps
from segplug.progress import QuietReporter
from segplug.results import Artifact

CLASSES = ("sky", "road", "car", "tree")


class TinyNet(nn.Module):
    """Downsamples by two and comes back to the input's size, as segmentation networks do."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.head = nn.Conv2d(8, len(CLASSES), 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.head(torch.relu(self.stem(images)))
        return nn.functional.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)


class HalfSize(TinyNet):
    """Gives scores at half the input's size."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.stem(images)))


class OneSize(TinyNet):
    """Gives scores of 20x28, whatever the input's size is."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = self.head(torch.relu(self.stem(images)))
        return nn.functional.interpolate(scores, size=(20, 28), mode="bilinear", align_corners=False)


class CreatesTensors(TinyNet):
    """Creates a tensor when it runs: its trace contains the device on which it was traced."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + torch.arange(len(CLASSES), device=images.device)[:, None, None]


def tiny(
    network: type[TinyNet] = TinyNet, *, seed: int = 0, channels: int = 3, **changes: Any
) -> SegmentationModel:
    """A model as a source returns it."""
    torch.manual_seed(seed)
    module = network(channels).eval()
    colours = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    for bias in (module.stem.bias, module.head.bias):
        nn.init.zeros_(bias)  # or one class would be everywhere
    nn.init.orthogonal_(module.head.weight, gain=4)
    values: dict[str, Any] = {
        "name": "tiny",
        "classes": CLASSES,
        "palette": ((70, 130, 180), (128, 64, 128), (0, 0, 142), (107, 142, 35)),
        "in_channels": channels,
        "decoding": Decoding.for_channels(channels),
        "preprocessing": usual_steps(
            *(colours if channels == 3 else ([120.0] * channels, [60.0] * channels))
        ),
        "input_size": (32, 48),
        "out_channels": len(CLASSES),
        "output_stride": 2 if network is HalfSize else 1,
        "output_size": (20, 28) if network is OneSize else None,
    }
    return SegmentationModel(module, ModelMeta(**{**values, **changes}), lambda: module)


def with_metadata(artifact: Artifact, path: Path, **changes: Any) -> Path:
    """A copy of an ONNX artifact with changed metadata."""
    model = onnx.load(str(artifact.path))
    (entry,) = [entry for entry in model.metadata_props if entry.key == META_ENTRY]
    entry.value = artifact.meta.replace(**changes).to_json()
    onnx.save(model, str(path))
    return path


class WarningRecorder(QuietReporter):
    """Records the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def pack(artifact: Artifact | Path, folder: Path, **given: Any) -> ModelConfig:
    """Pack an artifact, and read its config.pbtxt."""
    packed = Segplug().pack("triton", artifact, folder=folder, **given)
    return config_of(packed.path)


def config_of(model: Path) -> ModelConfig:
    return text_format.Parse((model / "config.pbtxt").read_text(), ModelConfig())


def tensors(config: ModelConfig) -> list[tuple[str, int, tuple[int, ...]]]:
    """Names, types and dimensions of the inputs, then of the outputs."""
    return [(item.name, item.data_type, tuple(item.dims)) for item in (*config.input, *config.output)]


def files(folder: Path) -> dict[str, bytes]:
    """The paths and contents of all files in a folder."""
    return {
        item.relative_to(folder).as_posix(): item.read_bytes() for item in folder.rglob("*") if item.is_file()
    }

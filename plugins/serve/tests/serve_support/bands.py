"""Small networks for images of other channels and types than 8-bit colours, as ONNX files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from segplug import Segplug
from segplug.model import ModelMeta, SegmentationModel
from segplug.preprocessing import Decoding, Resize, usual_steps

METAS = {
    "five": ModelMeta(
        name="five",
        classes=("road", "building", "sky", "car"),
        in_channels=5,
        decoding=Decoding.for_channels(5),
        preprocessing=usual_steps((0.5,) * 5, (0.3,) * 5, resize=Resize(scale=(64, 48))),
        out_channels=4,
        input_size=(48, 64),
    ),
    "four": ModelMeta(
        name="four",
        classes=("road", "building", "sky", "car"),
        in_channels=4,
        decoding=Decoding(color="unchanged"),
        preprocessing=usual_steps((30e3,) * 4, (20e3,) * 4),
        out_channels=4,
        input_size=(48, 64),
    ),
}
"""``five``: bands of floats; ``four``: 16-bit channels, as a PNG has them."""


def save_model(name: str, folder: Path, *, output_kind: str = "logits", **changes: object) -> Path:
    """Export the network of one of :data:`METAS`, the same every time. ``changes``: other metadata."""
    meta = METAS[name].replace(**changes)
    torch.manual_seed(meta.in_channels)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(meta.in_channels, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1)
    ).eval()
    with torch.no_grad():
        # Logits about zero on average, and far apart, so that every class occurs and some are sure.
        network[2].weight *= 10
        logits = network(torch.randn(4, meta.in_channels, 48, 64, generator=torch.Generator().manual_seed(0)))
        network[2].bias -= logits.mean(dim=(0, 2, 3))
    model = SegmentationModel(network, meta, exportable=lambda: network)
    output = folder / f"{name}.onnx"
    return Segplug().export("onnx", model, output=output, dynamic=True, output_kind=output_kind).path


def band_image(name: str, seed: int = 0, height: int = 40, width: int = 57) -> np.ndarray:
    """An image of one of :data:`METAS`: ``(H, W, C)``, float32 0 to 1, or uint16."""
    values = np.random.default_rng(seed).random((height, width, METAS[name].in_channels))
    return (values * 65536).astype(np.uint16) if name == "four" else values.astype(np.float32)


def npy(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, image)
    return content.getvalue()

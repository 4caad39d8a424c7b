"""A small network for images of five bands of floats, and such images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from segplug import Segplug
from segplug.model import ModelMeta, SegmentationModel
from segplug.preprocessing import Decoding, Flip, usual_steps

BANDS = 5


def save_bands(folder: Path) -> Path:
    """Export it to ONNX. It has test-time augmentation, which servers leave out."""
    meta = ModelMeta(
        name="bands",
        classes=("road", "building", "sky", "car"),
        in_channels=BANDS,
        decoding=Decoding.for_channels(BANDS),
        preprocessing=usual_steps((0.5,) * BANDS, (0.3,) * BANDS),
        tta=((), (Flip("horizontal"),)),
        out_channels=4,
        input_size=(48, 64),
    )
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(BANDS, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 1)
    ).eval()
    with torch.no_grad():
        # Logits about zero on average, and far apart, so that every class occurs and some are sure.
        network[2].weight *= 10
        logits = network(torch.randn(4, BANDS, 48, 64, generator=torch.Generator().manual_seed(0)))
        network[2].bias -= logits.mean(dim=(0, 2, 3))
    model = SegmentationModel(network, meta, exportable=lambda: network)
    output = folder / "bands.onnx"
    return Segplug().export("onnx", model, output=output, dynamic=True, output_kind="logits").path


def band_image(height: int = 40, width: int = 57, seed: int = 0) -> np.ndarray:
    """Float32 ``(H, W, 5)``, 0 to 1."""
    return np.random.default_rng(seed).random((height, width, BANDS)).astype(np.float32)


def npy(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, image)
    return content.getvalue()

"""The model that the tests pack and serve, the demo's trained network; images and masks."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from segplug.api import Segplug
from segplug.runtime.postprocess import Prediction
from segplug.runtime.segment import Segmenter
from segplug.verification.sample import sample_image

ROOT = Path(__file__).resolve().parents[4]
CONFIG = ROOT / "demo" / "config.py"
WEIGHTS = ROOT / "demo" / "weights.pth"
SMALL = {
    "data.test.pipeline.1.img_scale": (256, 128),
    "data.test.pipeline.1.transforms.0.keep_ratio": False,
}
"""One size of the network's input, whatever the image's, so that artifacts of fixed size are to be equal."""


def demo_model() -> Any:
    return Segplug().load_model(CONFIG, checkpoint=WEIGHTS, cfg_options=SMALL)


def pictures() -> list[np.ndarray]:
    """Real pictures of different sizes, uint8 BGR."""
    whole = np.ascontiguousarray(sample_image(360, 480)[:, :, ::-1])
    sizes = [(200, 300), (97, 131), (240, 160), (64, 512), (333, 222)]
    return [np.ascontiguousarray(cv2.resize(whole[10 * i :, 15 * i :], size)) for i, size in enumerate(sizes)]


def png_of(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def mask_of(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:  # with a palette, which OpenCV would apply
        mask = np.asarray(picture)
    assert mask.ndim == 2
    return mask


def labels_of(
    what: Any, images: Sequence[np.ndarray], *, backend: str, threads: int | None = 1, **options: Any
) -> list[np.ndarray]:
    """The label maps that a backend gives, one image at a time."""
    with Segplug().open(what, backend=backend, threads=threads, **options) as engine:
        found = [Segmenter(engine)([image])[0] for image in images]
    assert all(isinstance(prediction, Prediction) for prediction in found), found
    return [prediction.labels for prediction in found]


def unpacked(archive: Path, folder: Path) -> Path:
    """An archive as TorchServe lays it out."""
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        file.extractall(folder)
    return folder


def served_of(archive: Path) -> dict[str, Any]:
    with zipfile.ZipFile(archive) as file:
        return json.loads(file.read("segplug-served.json"))

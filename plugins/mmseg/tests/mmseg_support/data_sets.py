"""Small data sets of mmseg on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from segplug_mmseg.datasets import MmsegDataset, provider

from segplug.progress import QuietReporter
from segplug.requests import LoadDatasetRequest
from segplug.testing import make_request

__all__ = ["SIZE", "custom", "load", "open_dataset", "write_images", "write_masks"]

SIZE = (12, 16)


def write_images(folder: Path, names: list[str], suffix: str, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for name in names:
        cv2.imwrite(str(folder / f"{name}{suffix}"), random.integers(0, 256, (*SIZE, 3), np.uint8))


def write_masks(folder: Path, names: list[str], suffix: str, labels: int, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    values = np.array([*range(labels + 1), 254, 255], np.uint8)
    for name in names:
        Image.fromarray(random.choice(values, SIZE)).save(folder / f"{name}{suffix}")


def custom(folder: Path, **settings) -> dict:
    write_images(folder / "img", ["a", "b"], ".png")
    write_masks(folder / "ann", ["a", "b"], ".png", labels=3)
    base = {
        "type": "CustomDataset",
        "data_root": str(folder),
        "img_dir": "img",
        "ann_dir": "ann",
        "img_suffix": ".png",
        "classes": ["x", "y", "z"],
        "pipeline": [{"type": "LoadImageFromFile"}],
    }
    return base | settings


def open_dataset(folder: Path, test, reporter: QuietReporter | None = None, **options) -> MmsegDataset:
    path = folder / "config.py"
    path.write_text(f"data = dict(test={test!r})\n")
    return load(path, cfg_options=options, reporter=reporter or QuietReporter())


def load(location: Path, **fields) -> MmsegDataset:
    return provider.load_dataset(make_request(LoadDatasetRequest, location=str(location), **fields))

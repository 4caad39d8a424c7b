"""Test pipelines of mmsegmentation 0.30, and the images that its code prepares with them, in a file.

To write the file again, in an environment with 0.30 and from the root of the repository:

    PYTHONPATH=plugins/mmseg/tests python -m mmseg_support.stored_images
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["FILE", "PIPELINES", "write_image"]

FILE = Path(__file__).with_name("stored_images.npz")
"""By name of a pipeline and number of a view: the prepared image ``(C, H, W)``."""

_LOADER = {"type": "LoadImageFromFile"}
_NORMALIZE = {"type": "Normalize", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
_COLLECT = {"type": "Collect", "keys": ["img"], "meta_keys": []}
_KEEP = {"type": "Resize", "keep_ratio": True}


def _augmented(*transforms: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    return [_LOADER, {"type": "MultiScaleFlipAug", "transforms": [*transforms, _COLLECT], **settings}]


_FLIP = {"type": "RandomFlip"}

PIPELINES: dict[str, list[dict[str, Any]]] = {
    "ratio kept": _augmented(_KEEP, _FLIP, img_scale=(40, 20)),
    "ratio not kept": _augmented({"type": "Resize", "keep_ratio": False}, _FLIP, img_scale=(40, 20)),
    "no resize": _augmented(_FLIP, img_scale=(40, 20)),
    "ratios": _augmented(_KEEP, _FLIP, img_scale=(41, 21), img_ratios=[0.5, 0.75, 1.0, 1.25]),
    "scales": _augmented(_KEEP, _FLIP, img_scale=[(30, 20), (40, 30)]),
    "own size": _augmented(_KEEP, _FLIP, img_scale=None, img_ratios=[1.0]),
    "flips": _augmented(
        _KEEP, _FLIP, img_scale=(40, 20), flip=True, flip_direction=["horizontal", "vertical"]
    ),
    "ratios and flips": _augmented(_KEEP, _FLIP, img_scale=(40, 20), img_ratios=[1.5, 1.0], flip=True),
    "least edge": _augmented({**_KEEP, "min_size": 24}, _FLIP, img_scale=(60, 20), img_ratios=[1.0, 1.5]),
    "multiple": _augmented(
        _KEEP, {"type": "ResizeToMultiple", "size_divisor": 16}, _FLIP, img_scale=(40, 20), flip=True
    ),
    "padded": _augmented(
        _KEEP, _FLIP, {"type": "Pad", "size_divisor": 16, "pad_val": (7, 7, 7)}, img_scale=(40, 20)
    ),
    "padded to a size": _augmented(_KEEP, _FLIP, {"type": "Pad", "size": (32, 48)}, img_scale=(40, 20)),
    "flat": [_LOADER, {"type": "Resize", "img_scale": (40, 20)}, _COLLECT],
    "normalised": _augmented(_KEEP, _FLIP, _NORMALIZE, img_scale=(40, 20)),
    "normalised and padded": _augmented(
        _KEEP, _NORMALIZE, {"type": "Pad", "size_divisor": 16}, img_scale=(40, 20)
    ),
}


def write_image(folder: Path) -> Path:
    """An image of 31x23 pixels."""
    import cv2

    file = folder / "image.png"
    cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 256, (23, 31, 3), np.uint8))
    return file


def _prepared(pipeline: list[dict[str, Any]], image: Path) -> list[npt.NDArray[Any]]:
    from segplug_mmseg.compat import import_mmseg

    import_mmseg()
    from mmseg.datasets.pipelines import Compose

    results = Compose(pipeline)({"img_info": {"filename": image.name}, "img_prefix": str(image.parent)})
    views = results["img"] if isinstance(results["img"], list) else [results["img"]]
    return [view.transpose(2, 0, 1) for view in views]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        file = write_image(Path(scratch))
        images = {
            f"{name}/{number}": view
            for name, pipeline in PIPELINES.items()
            for number, view in enumerate(_prepared(pipeline, file))
        }
    np.savez_compressed(FILE, **images)

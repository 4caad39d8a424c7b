"""Small projects of mmsegmentation 1.x: a network, its weights, images and masks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from segplug_mmseg.compat import import_mmseg, report_warnings

from mmseg_support.scoring import MODEL, SIZES, Project, blocks
from segplug.testing import randomise

__all__ = ["make_project"]

_MODEL: dict[str, Any] = {
    **MODEL,
    "data_preprocessor": {
        "type": "SegDataPreProcessor",
        "mean": [120.0, 110.0, 100.0],
        "std": [58.0, 57.0, 56.0],
        "bgr_to_rgb": True,
    },
}

_PIPELINE = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (96, 64), "keep_ratio": True},
    {"type": "LoadAnnotations"},
    {"type": "PackSegInputs"},
]


def make_project(
    folder: Path,
    *,
    classes: tuple[str, ...] = ("a", "b", "c"),
    model: dict[str, Any] | None = None,
    head: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    evaluator: dict[str, Any] | None = None,
) -> Project:
    """Write a project of two images.

    Args:
        folder: Where; it must be empty.
        classes: The data set's.
        model: Settings of the model that differ.
        head: Settings of its head that differ.
        dataset: Settings of the data set that differ.
        evaluator: Settings of the evaluator that differ.
    """
    network = {**_MODEL, **(model or {})}
    network["decode_head"] = {**network["decode_head"], **(head or {})}
    data = {
        "type": "BaseSegDataset",
        "data_root": str(folder),
        "data_prefix": {"img_path": "img", "seg_map_path": "ann"},
        "metainfo": {"classes": classes},
        "pipeline": _PIPELINE,
        **(dataset or {}),
    }
    metric = {"type": "IoUMetric", "iou_metrics": ["mIoU", "mDice", "mFscore"], **(evaluator or {})}
    for name in ("img", "ann"):
        (folder / name).mkdir()
    for number, size in enumerate(SIZES):
        assert cv2.imwrite(str(folder / "img" / f"{number}.jpg"), blocks(3, "uint8", number))
        labels = np.random.default_rng(number).integers(0, 4, (6, 8), dtype=np.uint8)
        mask = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)
        mask[:3] = 255
        Image.fromarray(mask).save(folder / "ann" / f"{number}.png")
    config = folder / "config.py"
    config.write_text(
        f"default_scope = 'mmseg'\nmodel = {network!r}\n"
        f"test_dataloader = dict(batch_size=1, num_workers=0, dataset={data!r})\n"
        f"test_evaluator = {metric!r}\n"
    )
    project = Project(config, folder / "weights.pth")
    _write_weights(project, folder / "img" / "0.jpg")
    return project


def _write_weights(project: Project, image: Path) -> None:
    """Random weights, with biases that make every class win somewhere."""
    import_mmseg()
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    init_default_scope("mmseg")
    with report_warnings():
        network = MODELS.build(Config.fromfile(str(project.config)).model).eval()
    randomise(network)
    pixels = torch.from_numpy(cv2.resize(cv2.imread(str(image)), (96, 64)).transpose(2, 0, 1).copy())
    with torch.no_grad():
        inputs = network.data_preprocessor({"inputs": [pixels]})["inputs"]
        meta = {"img_shape": inputs.shape[2:], "pad_shape": inputs.shape[2:], "ori_shape": inputs.shape[2:]}
        logits = network.encode_decode(inputs, [meta])
        middle = logits.flatten(2).median(2).values[0]
        if len(middle) == 1:
            threshold = network.decode_head.threshold
            middle -= math.log(threshold / (1 - threshold))
        network.decode_head.conv_seg.bias -= middle
    torch.save({"state_dict": network.state_dict()}, project.checkpoint)

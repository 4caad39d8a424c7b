"""Small projects (a network, its weights, images and masks), and the scores that mmseg itself gives them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
import torch
from PIL import Image
from segplug_mmseg.compat import import_mmseg, report_warnings
from segplug_mmseg.v0.config import read_config

from segplug.testing import randomise

__all__ = ["MODEL", "SIZES", "Project", "blocks", "make_project"]

SIZES = ((240, 360), (244, 332))
"""Height and width of the images: so many that a near-tie changes the fourth decimal by 1 at most."""

_NORM = {"type": "BN", "requires_grad": True}
MODEL: dict[str, Any] = {
    "type": "EncoderDecoder",
    "backbone": {
        "type": "ResNetV1c",
        "depth": 18,
        "base_channels": 8,
        "stem_channels": 8,
        "num_stages": 4,
        "out_indices": (0, 1, 2, 3),
        "dilations": (1, 1, 2, 4),
        "strides": (1, 2, 1, 1),
        "norm_cfg": _NORM,
        "contract_dilation": True,
    },
    "decode_head": {
        "type": "FCNHead",
        "in_channels": 64,
        "in_index": 3,
        "channels": 16,
        "num_convs": 1,
        "concat_input": False,
        "num_classes": 3,
        "norm_cfg": _NORM,
    },
    "test_cfg": {"mode": "whole"},
}


@dataclass(frozen=True)
class Project:
    """A config with its data set, and a checkpoint."""

    config: Path
    checkpoint: Path

    def mmseg_scores(self) -> dict[str, float]:
        """What mmseg's own ``build_dataset``, ``forward_test`` and ``evaluate`` give, to 4 decimals."""
        dataset, network = self._opened()
        network.load_state_dict(torch.load(self.checkpoint)["state_dict"])
        results: list[Any] = []
        for index in range(len(dataset)):
            sample = dataset[index]
            images = [image[None] for image in sample["img"]]
            metas = [[meta.data] for meta in sample["img_metas"]]
            with torch.no_grad():
                labels = network.forward_test(images, metas, rescale=True)
            results += dataset.pre_eval(labels, index)
        scores: dict[str, float] = dataset.evaluate(results, metric=["mIoU"], logger="silent")
        return scores

    def write_weights(self) -> None:
        """Random weights, with biases that make every class win somewhere."""
        dataset, network = self._opened()
        randomise(network)
        with torch.no_grad():
            logits = network.encode_decode(dataset[0]["img"][0][None], None)
            middle = logits.flatten(2).median(2).values[0]
            if len(middle) == 1:
                threshold = network.decode_head.threshold
                middle -= math.log(threshold / (1 - threshold))
            network.decode_head.conv_seg.bias -= middle
        torch.save({"state_dict": network.state_dict()}, self.checkpoint)

    def _opened(self) -> tuple[Any, Any]:
        """The data set and the network, as mmseg builds them."""
        import_mmseg()
        from mmseg.datasets import build_dataset
        from mmseg.models import build_segmentor

        config = read_config(str(self.config))
        with report_warnings():
            dataset = build_dataset(config.data.test, {"test_mode": True})
            return dataset, build_segmentor(config.model).eval()


def blocks(channels: int, dtype: str, number: int) -> npt.NDArray[Any]:
    """A made-up image of smooth blocks, in the whole range of the type; floats in 0 to 1."""
    random = np.random.default_rng(number)
    high = 1.0 if dtype.startswith("float") else float(np.iinfo(dtype).max)
    coarse = random.random((8, 12, channels)) * high
    image = cv2.resize(coarse, SIZES[number][::-1], interpolation=cv2.INTER_LINEAR)
    pixels: npt.NDArray[Any] = image.astype(dtype)
    return pixels


def make_project(
    folder: Path,
    pipeline: list[dict[str, Any]],
    images: list[npt.NDArray[Any]],
    *,
    suffix: str = ".png",
    channels: int = 3,
    classes: tuple[str, ...] = ("a", "b", "c"),
    header: str = "",
    model: dict[str, Any] | None = None,
    head: dict[str, Any] | None = None,
) -> Project:
    """Write a project.

    Args:
        folder: Where; it must be empty.
        pipeline: The test pipeline.
        images: One for each of :data:`SIZES`. ``.npy`` is written with NumPy, ``.tif`` with tifffile, others
            with OpenCV.
        suffix: The suffix of the image files.
        channels: Input channels of the network.
        classes: The data set's.
        header: Python that comes first in the config.
        model: Settings of the model that differ.
        head: Settings of its head that differ.
    """
    settings = {**MODEL, **(model or {})}
    settings["backbone"] = {**settings["backbone"], "in_channels": channels}
    settings["decode_head"] = {**settings["decode_head"], **(head or {})}
    test = {
        "type": "CustomDataset",
        "data_root": str(folder),
        "img_dir": "img",
        "ann_dir": "ann",
        "img_suffix": suffix,
        "classes": classes,
        "palette": [[10 * number] * 3 for number in range(len(classes))],
        "pipeline": pipeline,
    }
    config = folder / "config.py"
    config.write_text(f"{header}\nmodel = {settings!r}\ndata = dict(test={test!r})\n")
    for name in ("img", "ann"):
        (folder / name).mkdir()
    for number, image in enumerate(images):
        path = folder / "img" / f"{number}{suffix}"
        if suffix == ".npy":
            np.save(path, image)
        elif suffix == ".tif":
            tifffile.imwrite(path, image, photometric="minisblack", planarconfig="contig")
        else:
            assert cv2.imwrite(str(path), image)
        labels = np.random.default_rng(number).integers(0, max(len(classes), 2), (6, 8), dtype=np.uint8)
        mask = cv2.resize(labels, SIZES[number][::-1], interpolation=cv2.INTER_NEAREST)
        mask[:3] = 255
        Image.fromarray(mask).save(folder / "ann" / f"{number}.png")
    project = Project(config, folder / "weights.pth")
    project.write_weights()
    return project

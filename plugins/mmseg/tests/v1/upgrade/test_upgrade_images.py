"""Images that 1.x prepares with an upgraded config are those that 0.30 prepares with the original."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmseg_support.stored_images import FILE, PIPELINES, write_image
from segplug_mmseg.compat import import_mmseg
from segplug_mmseg.v1.upgrade import upgrade

PLAIN = {"ratios": 2, "ratios and flips": 2}
"""The number of the view of ratio 1 without a flip, where it is not the first."""


@pytest.fixture(scope="module")
def stored() -> dict[str, list[np.ndarray]]:
    with np.load(FILE) as file:
        numbers: dict[str, list[int]] = {}
        for key in file.files:
            name, _, number = key.rpartition("/")
            numbers.setdefault(name, []).append(int(number))
        return {
            name: [file[f"{name}/{number}"] for number in sorted(found)] for name, found in numbers.items()
        }


def prepared(settings: dict[str, Any], pipeline: list[Any], image: Path) -> list[torch.Tensor]:
    """What 1.x's transforms and its data preprocessor make of an image, one for each view."""
    import_mmseg()
    from mmengine.dataset import Compose
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    with DefaultScope.overwrite_default_scope("mmseg"):
        results = Compose(copy.deepcopy(pipeline))({"img_path": str(image), "seg_fields": []})
        preprocessor = MODELS.build(settings["model"]["data_preprocessor"])
    inputs, samples = results["inputs"], results["data_samples"]
    if not isinstance(inputs, list):
        inputs, samples = [inputs], [samples]
    return [
        preprocessor({"inputs": [one], "data_samples": [sample]})["inputs"][0]
        for one, sample in zip(inputs, samples, strict=True)
    ]


@pytest.mark.parametrize("name", PIPELINES)
def test_every_view_is_that_of_0_30(name: str, stored: dict[str, list[np.ndarray]], tmp_path: Path) -> None:
    data = {"test": {"type": "CustomDataset", "img_dir": "images", "pipeline": PIPELINES[name]}}
    settings = upgrade({"model": {"type": "EncoderDecoder"}, "data": data}, "old.py").settings
    image = write_image(tmp_path)

    views = prepared(settings, settings.get("tta_pipeline", settings["test_pipeline"]), image)
    plain = prepared(settings, settings["test_pipeline"], image)

    assert len(views) == len(stored[name])
    for view, expected in zip(views, stored[name], strict=True):
        # Also where it is normalised: 0.30 multiplies by the reciprocal in float64, 1.x divides in float32.
        np.testing.assert_array_equal(view.numpy(), expected)
    assert torch.equal(plain[0], views[PLAIN.get(name, 0)])

"""Artifacts with metadata of schema 1 run as they did: the same numbers, in its fixed order."""

from __future__ import annotations

import json
import math
from typing import Any

import cv2
import numpy as np
import pytest

from segplug.errors import ArtifactError
from segplug.model import ModelMeta
from segplug.preprocessing import ChannelOrder, Decoding, Normalize, Pad, Resize
from segplug.runtime.preprocess import Preprocessor

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
SCHEMA_1: dict[str, Any] = {
    "schema_version": 1,
    "name": "old",
    "classes": ["a", "b", "c"],
    "palette": [],
    "mean": MEAN,
    "std": STD,
    "channel_order": "rgb",
    "input_size": None,
    "resize": None,
    "pad": None,
    "inference": {"mode": "whole", "crop_size": None, "stride": None},
    "input_limits": None,
    "out_channels": 3,
    "activation": "softmax",
    "threshold": None,
    "align_corners": True,
    "reduce_zero_label": False,
    "provenance": {"config": "c.py", "config_sha256": None, "checkpoint": None, "checkpoint_sha256": None},
    "versions": {"torch": "2.0"},
    "verification": None,
    "extra": {},
}
"""As version 0.1 wrote it: every field present."""


def _read(**changes: Any) -> ModelMeta:
    return ModelMeta.from_json(json.dumps(SCHEMA_1 | changes))


def test_the_fixed_order_becomes_steps() -> None:
    meta = _read(
        resize={"scale": [64, 48], "keep_ratio": True, "ratio": 1.0, "min_size": 40, "multiple_of": 32},
        pad={"size": None, "divisor": 32, "value": 5.0},
    )
    assert meta.preprocessing == (
        Resize((64, 48), "inside", min_size=40),
        Resize(multiple_of=32),
        ChannelOrder((2, 1, 0)),
        Normalize(tuple(MEAN), tuple(STD)),
        Pad(divisor=32, value=(5.0, 0.0, 0.0)),
    )
    assert (meta.in_channels, meta.decoding, meta.tta) == (3, Decoding(), ())
    assert (meta.output_stride, meta.scores, meta.approximations) == (1, "logits", ())
    assert (meta.schema_version, meta.classes, meta.align_corners) == (2, ("a", "b", "c"), True)
    assert meta.provenance.config == "c.py"
    assert ModelMeta.from_json(meta.to_json()) == meta


def test_fields_that_were_not_there_had_defaults() -> None:
    meta = ModelMeta.from_dict({"schema_version": 1, "name": "m"})
    assert meta.preprocessing == (ChannelOrder((2, 1, 0)), Normalize((0.0,) * 3, (1.0,) * 3))


def _old_size(size: tuple[int, int], resize: dict[str, Any]) -> tuple[int, int]:
    """mmcv's rescale_size, as schema 1 had it."""
    height, width = size
    scale = resize.get("scale") or [int(width * resize["ratio"]), int(height * resize["ratio"])]
    if not resize.get("keep_ratio"):
        return scale[1], scale[0]
    long, short = max(scale), min(scale)
    if resize.get("min_size"):
        short = max(short, resize["min_size"])
        long = short * max(size) / min(size)
    factor = min(long / max(size), short / min(size))
    return int(height * factor + 0.5), int(width * factor + 0.5)


def _old_input(image: np.ndarray, data: dict[str, Any]) -> np.ndarray:
    """The network's input by the formula of schema 1: OpenCV's resize, mmcv's normalisation and padding."""
    if (resize := data["resize"]) is not None:
        height, width = _old_size(image.shape[:2], resize)
        if (height, width) != image.shape[:2]:
            image = cv2.resize(image, (width, height))
        if multiple := resize.get("multiple_of"):
            height, width = (math.ceil(edge / multiple) * multiple for edge in image.shape[:2])
            image = cv2.resize(image, (width, height))
    image = image.astype(np.float32)
    if data["channel_order"] == "rgb":
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    mean = np.float64(np.float32(data["mean"]).reshape(1, -1))
    factor = 1 / np.float64(np.float32(data["std"]).reshape(1, -1))
    image = cv2.multiply(cv2.subtract(image, mean), factor)
    if (pad := data["pad"]) is not None:
        height, width = pad.get("size") or (
            math.ceil(edge / pad["divisor"]) * pad["divisor"] for edge in image.shape[:2]
        )
        bottom, right = max(height - image.shape[0], 0), max(width - image.shape[1], 0)
        image = cv2.copyMakeBorder(
            image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=pad.get("value", 0.0)
        )
    return image.transpose(2, 0, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"channel_order": "bgr"},
        {"mean": [0, 0, 0], "std": [255, 255, 255]},
        {"resize": {"scale": [64, 48]}},
        {"resize": {"scale": [64, 48], "keep_ratio": True}},
        {"resize": {"scale": [64, 20], "keep_ratio": True, "min_size": 33}},
        {"resize": {"scale": None, "ratio": 0.7}},
        {"resize": {"scale": [60, 50], "keep_ratio": True, "multiple_of": 32}},
        {"pad": {"divisor": 32, "value": 0.0}},
        {"pad": {"divisor": 32, "value": 2.5}},
        {"pad": {"size": [70, 40]}, "channel_order": "bgr"},
        {"resize": {"scale": [64, 48], "keep_ratio": True}, "pad": {"size": [64, 64], "value": -1.0}},
    ],
)
@pytest.mark.parametrize("size", [(45, 61), (61, 45)])
def test_the_numbers_are_those_of_schema_1(changes: dict[str, Any], size: tuple[int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    prepared = Preprocessor(_read(**changes))(image, "a")
    expected = _old_input(image, SCHEMA_1 | changes)
    assert prepared.array.shape == expected.shape
    assert np.array_equal(prepared.array, expected)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"mean": [1, 2]}, "preprocessing[1]: mean has 2 values, std 3"),
        ({"mean": [1, "2", 3]}, "preprocessing[1] is wrong at mean[1]"),
        ({"std": [1, 0, 1]}, "preprocessing[1] is wrong at std[1]"),
        ({"std": [1, float("nan"), 1]}, "preprocessing[1] is wrong at std[1]"),
        ({"mean": None}, "preprocessing[1] is wrong at mean"),
        ({"resize": [64, 64]}, "preprocessing[0]: an object is expected"),
        ({"resize": {"scael": [8, 8]}}, "preprocessing[0]: 'scael' is none of scale"),
        ({"pad": {}}, "preprocessing[2]: exactly one of size and divisor is expected, or square"),
        ({"pad": {"divisor": 8, "value": "x"}}, "preprocessing[2] is wrong at value[0]"),
        ({"pad": 32}, "preprocessing[2]: an object is expected"),
        ({"channel_ordre": "rgb"}, "'channel_ordre'"),
        ({"channel_order": "gbr"}, "preprocessing[0] is wrong at order"),
        ({"channel_order": 1}, "preprocessing[0] is wrong at order"),
        ({"channel_order": None}, "preprocessing[0] is wrong at order"),
        ({"resize": {"keep_ratio": 1}}, "preprocessing[0] is wrong at fit"),
        ({"resize": {"keep_ratio": "false"}}, "preprocessing[0] is wrong at fit"),
        ({"pad": {"divisor": 8, "value": None}}, "preprocessing[2] is wrong at value[0]"),
    ],
)
def test_damaged_data_of_schema_1_is_one_clear_error(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(ArtifactError) as raised:
        _read(**changes)
    assert place in str(raised.value)
    assert "\n" not in str(raised.value)

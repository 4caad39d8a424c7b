"""A server of a model that decides each class alone: its masks are bit masks."""

from __future__ import annotations

import io
import json
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from segplug.engine import EngineSpec
from segplug.errors import UsageError
from segplug.model import ModelMeta
from segplug.runtime.pipeline import run
from segplug.runtime.sinks import ScoreSink
from segplug.serving.client import Client
from segplug.serving.remote_engine import RemoteEngine
from segplug.serving.requests import Request
from segplug.serving.service import Service
from segplug.testing.engines import ArrayDataset, FunctionEngine
from tests.serving.conftest import encoded, http_server, pixels

PALETTE = ((200, 0, 0), (0, 100, 0), (0, 0, 50))
META = ModelMeta("m", ("road", "car", "wet"), PALETTE, out_channels=3, activation="sigmoid", threshold=0.5)


def _service(meta: ModelMeta = META) -> Service:
    """Each channel of an image says whether a class is there."""

    def logits(batch: np.ndarray) -> np.ndarray:
        scores = (batch - 128) / 9
        return np.concatenate([scores, *[scores] * 4], axis=1)[:, : meta.out_channels]

    return Service(FunctionEngine(EngineSpec(meta, "logits", backend="test"), logits))


def _image() -> tuple[np.ndarray, np.ndarray]:
    """An image (BGR), and the bit masks that the network gives for it."""
    there = np.random.default_rng(0).random((20, 30, 3)) < (0.7, 0.4, 0.2)
    return there.astype(np.uint8) * 255, (there @ [1, 2, 4]).astype(np.uint8)


def test_the_answers_show_each_class_of_a_pixel() -> None:
    image, labels = _image()
    outputs = ("mask", "color", "painted", "json", "confidence")
    answers = _service().answer([Request(encoded(image), output=name, opacity="1") for name in outputs])
    mask, color, painted, shares, confidence = answers
    assert np.array_equal(pixels(mask.body), labels)
    means = np.array(
        [
            [0, 0, 0],
            [200, 0, 0],
            [0, 100, 0],
            [100, 50, 0],
            [0, 0, 50],
            [100, 0, 25],
            [0, 50, 25],
            [67, 33, 17],
        ]
    )
    with Image.open(io.BytesIO(mask.body)) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), means[labels])
    assert np.array_equal(pixels(color.body)[..., ::-1], means[labels])
    expected = np.where(labels[..., None] > 0, means[labels], image[..., ::-1])
    assert np.array_equal(pixels(painted.body)[..., ::-1], expected)
    found = {entry["name"]: entry for entry in json.loads(shares.body)["classes"]}
    for bit, name in enumerate(META.classes):
        pixel_count = int((labels >> bit & 1).sum())
        assert found[name] == {
            "label": 1 << bit,
            "name": name,
            "colour": list(PALETTE[bit]),
            "pixels": pixel_count,
            "share": pixel_count / labels.size,
        }
    assert found["no class"]["pixels"] == (labels == 0).sum()
    assert pixels(confidence.body).min() == round(65535 / (1 + np.exp(-127 / 9)))


def test_the_description_says_that_masks_are_bit_masks() -> None:
    (answer,) = _service().answer([Request(None, output="meta")])
    found = json.loads(answer.body)
    assert found["multilabel"] is True
    assert [entry["label"] for entry in found["legend"]] == [1, 2, 4]


@pytest.mark.parametrize("classes", [3, 12])
def test_a_server_s_bit_masks_are_scored(classes: int) -> None:
    meta = META.replace(classes=(), palette=(), out_channels=classes)
    image, labels = _image()
    wide = labels.astype(np.uint16)
    truth = wide if classes == 3 else sum(wide << 3 * times for times in range(4))
    service, scores = _service(meta), ScoreSink()
    data = ArrayDataset([image], [truth])
    if classes == 12:
        data = ArrayDataset([image], [truth], data.info.__class__("wide", (), ignore_index=65535))
    with (
        http_server(lambda request: service.answer([request])[0]) as url,
        closing(RemoteEngine(Client(url), target="http")) as engine,
    ):
        run(engine, data, [scores])
    assert scores.scores is not None
    assert scores.scores.metrics["mIoU"] == 1
    assert scores.scores.counts.label.sum() == sum(int(value).bit_count() for value in truth.ravel())


def test_a_model_of_more_classes_is_not_served() -> None:
    with pytest.raises(UsageError, match="a label map holds the sets of at most 15 classes"):
        _service(META.replace(classes=(), palette=(), out_channels=16))

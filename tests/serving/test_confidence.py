"""Probabilities and unknown labels, as a client or the operator asks for them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segplug.engine import EngineSpec
from segplug.errors import UsageError
from segplug.model import ModelMeta
from segplug.serving.answers import Answer
from segplug.serving.requests import Request
from segplug.serving.service import Service
from segplug.testing import FunctionEngine
from tests.serving.conftest import META, bright, bright_engine, encoded, noise, pixels

IMAGE = noise()


def _decoded(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.reason
    assert answer.content_type == "image/png"
    return pixels(answer.body)


def _probability(image: np.ndarray = IMAGE) -> np.ndarray:
    """Of the engine's label: logits are ``-mean, mean`` of the normalised channels."""
    mean = ((image.astype(np.float64) - 127.5) / 60).mean(axis=2)
    return 1 / (1 + np.exp(-2 * np.abs(mean)))


def test_a_confidence_is_a_16_bit_png(service) -> None:
    (answer,) = service.answer([Request(encoded(IMAGE), output="confidence")])
    found = _decoded(answer)
    assert found.dtype == np.uint16
    assert np.abs(found - _probability() * 65535).max() < 0.6, "half a step, and float32"


@pytest.mark.parametrize("below", [0.6, 0.9])
def test_unsure_labels_become_unknown(service, below) -> None:
    unsure = _probability() < below
    assert 0.1 < unsure.mean() < 0.95
    mask, shares, confidence, sure = service.answer(
        [
            Request(encoded(IMAGE), unknown_below=str(below)),
            Request(encoded(IMAGE), output="json", unknown_below=str(below)),
            Request(encoded(IMAGE), output="confidence", unknown_below=str(below)),
            Request(encoded(IMAGE)),
        ]
    )
    assert _decoded(mask).dtype == np.uint8
    assert np.array_equal(_decoded(mask), np.where(unsure, 255, bright(IMAGE)))
    listed = {entry["name"]: entry["pixels"] for entry in json.loads(shares.body)["classes"]}
    assert listed["unknown"] == unsure.sum()
    assert sum(listed.values()) == IMAGE.shape[0] * IMAGE.shape[1]
    assert (_decoded(confidence) < below * 65535 - 1).sum() == unsure.sum(), "probabilities stay"
    assert np.array_equal(_decoded(sure), bright(IMAGE)), "other requests of the batch have their own setting"


def test_unknown_pixels_are_painted_black(service) -> None:
    (answer,) = service.answer([Request(encoded(IMAGE), output="painted", opacity="1", unknown_below="0.9")])
    colours = np.array([(0, 0, 0), (0, 0, 255)], np.uint8)[bright(IMAGE)]
    colours[_probability() < 0.9] = 0
    assert np.array_equal(_decoded(answer), colours)


def test_the_setting_of_the_server_holds_unless_a_request_says_otherwise() -> None:
    service = Service(bright_engine(), unknown_below=0.9)
    usual, all_known, lower = service.answer(
        [Request(encoded(IMAGE), unknown_below=below) for below in ("", "0", "0.6")]
    )
    assert np.array_equal(_decoded(usual) == 255, _probability() < 0.9)
    assert np.array_equal(_decoded(all_known), bright(IMAGE))
    assert np.array_equal(_decoded(lower) == 255, _probability() < 0.6)


@pytest.mark.parametrize("below", ["-0.1", "1.1", "nan", "x", "inf"])
def test_a_wrong_probability_is_refused(service, below) -> None:
    (answer,) = service.answer([Request(encoded(IMAGE), unknown_below=below)])
    assert answer.status == 400
    assert "unknown_below must be 0 to 1" in answer.reason


def test_labels_have_no_probabilities() -> None:
    spec = EngineSpec(meta=META, output="labels", backend="labels only")
    engine = FunctionEngine(spec, lambda batch: (batch.mean(axis=1) > 0).astype(np.uint8))
    service = Service(engine)
    for given in ({"output": "confidence"}, {"unknown_below": "0.5"}):
        (answer,) = service.answer([Request(encoded(IMAGE), **given)])
        assert answer.status == 400
        assert "labels only gives labels" in answer.reason
    (answer,) = service.answer([Request(encoded(IMAGE), unknown_below="0")])
    assert np.array_equal(_decoded(answer), bright(IMAGE))
    with pytest.raises(UsageError, match="labels only gives labels"):
        Service(engine, unknown_below=0.5)


def test_unknown_is_65535_where_255_is_a_class() -> None:
    meta = META.replace(classes=tuple(f"c{index}" for index in range(300)), palette=(), out_channels=300)

    def logits(batch: np.ndarray) -> np.ndarray:
        """Label 255, sure in bright pixels only."""
        scores = np.zeros((len(batch), 300, *batch.shape[2:]), np.float32)
        scores[:, 255] = 1 + 100 * (batch.mean(axis=1) > 0)
        return scores

    service = Service(FunctionEngine(EngineSpec(meta=meta, output="logits", backend="many"), logits))
    mask, shares = service.answer(
        [Request(encoded(IMAGE), output=output, unknown_below="0.5") for output in ("mask", "json")]
    )
    found = _decoded(mask)
    assert found.dtype == np.uint16
    assert np.array_equal(found, np.where(bright(IMAGE), 255, 65535))
    assert {(entry["label"], entry["name"]) for entry in json.loads(shares.body)["classes"]} == {
        (255, "c255"),
        (65535, "unknown"),
    }


def test_a_model_of_one_class() -> None:
    meta = ModelMeta(
        name="one", classes=("water",), palette=((0, 0, 255),), out_channels=1, activation="sigmoid",
        preprocessing=META.preprocessing,
    )  # fmt: skip

    def logits(batch: np.ndarray) -> np.ndarray:
        return 2 * batch.mean(axis=1, keepdims=True)

    service = Service(FunctionEngine(EngineSpec(meta=meta, output="logits", backend="one"), logits))
    mask, shares, painted, confidence = service.answer(
        [
            Request(encoded(IMAGE), output=each, opacity="1")
            for each in ("mask", "json", "painted", "confidence")
        ]
    )
    assert np.array_equal(_decoded(mask), bright(IMAGE))
    counts = np.bincount(bright(IMAGE).ravel())
    listed = {entry["name"]: entry["pixels"] for entry in json.loads(shares.body)["classes"]}
    assert listed == {"background": counts[0], "water": counts[1]}
    assert np.array_equal(_decoded(painted), np.array([(0, 0, 0), (255, 0, 0)], np.uint8)[bright(IMAGE)])
    assert np.abs(_decoded(confidence) - _probability() * 65535).max() < 0.6


@pytest.mark.parametrize("size", [{"output_stride": 2}, {"output_size": (12, 16)}])
def test_probabilities_of_another_size_are_served(size) -> None:
    """Scores that are no logits, at half the input's size."""
    meta = META.replace(scores="probabilities", **size)

    def scores(batch: np.ndarray) -> np.ndarray:
        high = (batch[:, :, ::2, ::2].mean(axis=1) > 0).astype(np.float32)
        return np.stack([0.9 - 0.8 * high, 0.1 + 0.8 * high], axis=1)

    image = np.zeros((24, 32, 3), np.uint8)
    image[:, 16:] = 255
    service = Service(FunctionEngine(EngineSpec(meta=meta, output="logits", backend="half"), scores))
    mask, confidence = service.answer(
        [Request(encoded(image), output=each) for each in ("mask", "confidence")]
    )
    assert np.array_equal(_decoded(mask), bright(image))
    found = _decoded(confidence) / 65535
    assert np.allclose(found[:, 20:], 0.9, atol=1e-4)

"""Outputs of engines are checked against their spec before anything is computed from them."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.engine import EngineSpec
from segplug.errors import EngineError, PluginError
from segplug.model import ModelMeta
from segplug.runtime.runner import Runner
from segplug.testing import FunctionEngine


def _run(meta: ModelMeta, output: str, answer: np.ndarray, size=(45, 61)) -> np.ndarray:
    engine = FunctionEngine(EngineSpec(meta, output, backend="test"), lambda batch: answer)
    return Runner(engine)(np.zeros((1, meta.in_channels, *size), np.float32))


@pytest.mark.parametrize(("stride", "size"), [(1, (45, 61)), (4, (12, 16)), (8, (6, 8)), (64, (1, 1))])
def test_scores_have_the_size_of_the_input_divided_by_the_stride_and_rounded_up(stride, size):
    meta = ModelMeta("m", in_channels=5, out_channels=7, output_stride=stride)
    scores = np.zeros((1, 7, *size), np.float32)
    assert _run(meta, "logits", scores).shape == (1, 7, *size)
    for wrong in ((size[0] + 1, size[1]), (size[0], size[1] - 1 or 2)):
        with pytest.raises(PluginError) as raised:
            _run(meta, "logits", np.zeros((1, 7, *wrong), np.float32))
        said = f"gave float32 (1, 7, {wrong[0]}, {wrong[1]}) where its spec says float scores (1, 7, "
        assert said + f"{size[0]}, {size[1]})" in str(raised.value)


def test_labels_have_the_size_of_the_input_whatever_the_stride():
    meta = ModelMeta("m", out_channels=7, output_stride=4)
    assert _run(meta, "labels", np.zeros((1, 45, 61), np.int64)).shape == (1, 45, 61)
    with pytest.raises(PluginError, match=r"integer labels \(1, 45, 61\)"):
        _run(meta, "labels", np.zeros((1, 12, 16), np.int64))


@pytest.mark.parametrize(
    "meta",
    [
        ModelMeta("m", out_channels=1),
        ModelMeta("m", classes=("a", "b"), out_channels=1),
        ModelMeta("m", classes=("vessel",), out_channels=1),
    ],
)
def test_a_head_of_one_channel_gives_two_labels(meta):
    labels = np.arange(4).reshape(1, 2, 2) % 2
    found = _run(meta, "labels", labels, (2, 2))
    assert np.array_equal(found, labels)
    assert found.dtype == np.uint8
    with pytest.raises(PluginError, match="label 2, but the model has 2 labels"):
        _run(meta, "labels", labels + 1, (2, 2))


@pytest.mark.parametrize(("classes", "kind"), [(256, np.uint8), (257, np.uint16), (70000, np.uint32)])
def test_labels_have_the_smallest_type_that_holds_all(classes, kind):
    labels = np.full((1, 2, 2), classes - 1)
    found = _run(ModelMeta("m", out_channels=classes), "labels", labels, (2, 2))
    assert found.dtype == kind
    assert np.array_equal(found, labels)


def test_logits_that_are_described_as_probabilities_are_refused():
    meta = ModelMeta("m", out_channels=2, scores="probabilities")
    scores = np.full((1, 2, 45, 61), 0.5, np.float32)
    assert np.array_equal(_run(meta, "logits", scores), scores)
    scores[0, 1, 3, 4] = -0.25
    with pytest.raises(
        EngineError, match=r"gave a score of -0\.25, but its model is described as one that gives"
    ):
        _run(meta, "logits", scores)
    assert np.array_equal(_run(ModelMeta("m", out_channels=2), "logits", scores), scores)

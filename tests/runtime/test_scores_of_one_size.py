"""Scores that have one size whatever the input's is, and scores that are resized with antialiasing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segplug.engine import Axis, EngineSpec
from segplug.errors import PluginError, UsageError
from segplug.model import Inference, ModelMeta
from segplug.preprocessing import Normalize, Pad, Resize, Step
from segplug.progress import QuietReporter
from segplug.runtime.postprocess import NetworkOutput, Postprocessor, average_views, scores_at_image_size
from segplug.runtime.preprocess import Preprocessor
from segplug.runtime.runner import Runner
from segplug.runtime.segment import Segmenter
from segplug.runtime.sizes import Geometry
from segplug.runtime.slide import Slider, windows
from segplug.testing import EngineConformance, FunctionEngine
from segplug.verification.compare import compare
from segplug.verification.run import comparison_inputs, run_both, verification_images

SIZE = (40, 56)
CLASSES = 4
ROUNDING = 2e-5
"""OpenCV's bilinear resize rounds positions otherwise than PyTorch's."""
META = ModelMeta("m", out_channels=CLASSES, output_size=SIZE, scores="probabilities")


def _resized(scores: np.ndarray, size: tuple[int, ...], *, antialias: bool = False) -> np.ndarray:
    batch = torch.from_numpy(np.ascontiguousarray(scores))
    resize = torch.nn.functional.interpolate
    found = resize(batch if batch.ndim == 4 else batch[None], size, mode="bilinear", antialias=antialias)
    return (found if batch.ndim == 4 else found[0]).numpy()


def _network(batch: np.ndarray) -> np.ndarray:
    """Probabilities of four classes, 40x56 whatever the size of the input."""
    mixed = np.stack([batch[:, 0], batch[:, 1], batch[:, 2], -batch.sum(axis=1)], axis=1)
    return _resized(1 / (1 + np.exp(-np.clip(4 * mixed, -9, 9))), SIZE)


def _at_input_size(batch: np.ndarray) -> np.ndarray:
    return _resized(_network(batch), batch.shape[2:])


def _engine(meta: ModelMeta, function=_network, output: str = "logits", **axes: Axis) -> FunctionEngine:
    return FunctionEngine(EngineSpec(meta, output, backend="test", **axes), function)


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


class TestEngine(EngineConformance):
    @pytest.fixture
    def engine(self):
        return _engine(META)


@pytest.mark.parametrize("size", [(45, 61), (16, 16), SIZE])
def test_an_engine_gives_them_for_every_input(size):
    batch = _noise(2, 3, *size)
    assert np.array_equal(Runner(_engine(META))(batch), _network(batch))
    if size != SIZE:
        with pytest.raises(PluginError, match=r"where its spec says float scores \(2, 4, 40, 56\)"):
            Runner(_engine(META, _at_input_size))(batch)
    labels = _engine(META, lambda batch: _at_input_size(batch).argmax(1), "labels")
    assert Runner(labels)(batch).shape == (2, *size)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("original", [(97, 131), (19, 23), (90, 25), SIZE])
@pytest.mark.parametrize("network", [(64, 64), (32, 96)])
def test_they_are_resized_once_to_the_image(original, network, antialias):
    scores = _noise(CLASSES, *SIZE)
    geometry = Geometry(original, network, network)
    output = NetworkOutput(scores, geometry, logits=False)
    meta = META.replace(output_antialias=antialias)
    expected = _resized(scores, original, antialias=antialias)
    np.testing.assert_allclose(scores_at_image_size(output, meta), expected, atol=ROUNDING)
    prediction = Postprocessor(meta, confidence=True)(output)
    assert (prediction.labels != expected.argmax(0)).mean() <= 1e-3
    np.testing.assert_allclose(prediction.confidence, expected.max(0), atol=ROUNDING)
    mean = average_views([(output, 1), (output, 2)], meta)
    np.testing.assert_allclose(mean.values, expected, atol=ROUNDING)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("network", [(64, 96), (24, 32)])
def test_padding_is_cut_at_the_size_of_the_input(network, antialias):
    scores = _noise(CLASSES, *SIZE)
    valid = (network[0] - 7, network[1] - 3)
    cut = _resized(scores, network, antialias=antialias)[:, : valid[0], : valid[1]]
    output = NetworkOutput(scores, Geometry((71, 50), valid, network), logits=False)
    expected = _resized(cut, (71, 50), antialias=antialias)
    found = scores_at_image_size(output, META.replace(output_antialias=antialias))
    np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_padding_that_is_not_cut_is_part_of_the_image():
    """As Mask2Former's processor does it: the scores of the padded input are stretched over the image."""
    steps: tuple[Step, ...] = (Resize((64, 48), "inside"), Normalize((120,) * 3, (60,) * 3))
    image = np.random.default_rng(2).integers(0, 256, (37, 91, 3)).astype(np.uint8)
    for cut in (False, True):
        meta = META.replace(preprocessing=(*steps, Pad(divisor=32, cut=cut)))
        (found,) = Segmenter(_engine(meta))([image], logits=True, confidence=True)
        assert not isinstance(found, Exception)
        scores = _network(Preprocessor(meta)(image, "a").array[None])[0]
        if cut:
            scores = _resized(scores, (32, 64))[:, :26]
        expected = _resized(scores, (37, 91))
        np.testing.assert_allclose(found.logits, expected, atol=ROUNDING)
        assert (found.labels != expected.argmax(0)).mean() <= 1e-3


@pytest.mark.parametrize(
    "inference", [Inference("slide", (24, 32), (16, 20)), Inference("slide", (24, 32), placement="even")]
)
def test_windows_are_averaged_at_their_own_size(inference):
    array = _noise(3, 50, 71)
    total, counts = np.zeros((CLASSES, 50, 71), np.float32), np.zeros((50, 71), np.float32)
    for place in windows((50, 71), (24, 32), inference.stride):
        rows, columns = slice(place.top, place.bottom), slice(place.left, place.right)
        total[:, rows, columns] += _at_input_size(array[None, :, rows, columns])[0]
        counts[rows, columns] += 1
    assert counts.min() >= 1
    meta = META.replace(inference=inference)
    np.testing.assert_allclose(Slider(Runner(_engine(meta)))(array), total / counts, atol=ROUNDING)
    image = np.random.default_rng(2).integers(0, 256, (50, 71, 3)).astype(np.uint8)
    assert Segmenter(_engine(meta))([image])[0].labels.shape == (50, 71)


def test_they_are_compared_with_scores_and_with_labels():
    def compared(candidate: FunctionEngine):
        inputs = comparison_inputs(verification_images((), META, (45, 61)), candidate)
        return compare(run_both(_engine(META), candidate, inputs, QuietReporter()), logits=False)

    result = compared(_engine(META))
    assert result.passed
    assert {name.split()[1] for name in result.inputs} == {"1x45x61", "1x59x79", "1x45x46", "2x45x61"}
    labels = compared(_engine(META, lambda batch: _at_input_size(batch).argmax(1), "labels"))
    assert labels.passed
    assert not labels.logits_compared
    assert compared(_engine(META.replace(output_size=None), _at_input_size)).passed, "made for labels"
    with pytest.raises(UsageError, match=r"the artifact gives \(4, 45, 61\), the model \(4, 40, 56\)"):
        compared(_engine(META, _at_input_size))

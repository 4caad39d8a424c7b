"""Labels and probabilities from scores, as torch and mmseg decide them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from segplug.engine import EngineSpec
from segplug.errors import UsageError
from segplug.model import ModelMeta
from segplug.progress import QuietReporter
from segplug.runtime.planes import argmax, resize_plane, winner
from segplug.runtime.postprocess import (
    NetworkOutput,
    Postprocessor,
    Prediction,
    mark_ignored,
    mark_unknown,
    require_scores,
)
from segplug.runtime.sizes import Geometry

SIZES = [
    ((45, 60), (90, 120)),
    ((45, 60), (361, 483)),
    ((90, 120), (45, 60)),
    ((90, 121), (37, 23)),
    ((64, 64), (1, 1)),
    ((1, 7), (5, 5)),
    ((90, 120), (30, 240)),
]


def _noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _post(scores: np.ndarray, meta: ModelMeta, geometry: Geometry | None = None, **output) -> Prediction:
    geometry = geometry or Geometry.whole(scores.shape[1:])
    return Postprocessor(meta, confidence=True)(NetworkOutput(scores, geometry, **output))


def _resized(scores: np.ndarray, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    values = torch.from_numpy(scores)[None]
    return interpolate(values, size=size, mode="bilinear", align_corners=align_corners)[0]


def _assert_labels(labels: np.ndarray, scores: torch.Tensor) -> None:
    """The labels are the argmax of ``scores``, but where rounding can decide."""
    best = scores.topk(2, dim=0).values
    firm = (best[0] - best[1] > 1e-4).numpy()
    assert firm.mean() > 0.99
    assert labels.shape == scores.shape[1:]
    assert np.array_equal(labels[firm], scores.argmax(0).numpy()[firm])


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_a_plane_is_resized_as_torch_does(old, new, align_corners):
    plane = _noise(*old)
    expected = _resized(plane[None], new, align_corners)[0].numpy()
    resized = resize_plane(plane, new, align_corners=align_corners)
    # positions are rounded to float32: an error of 1e-7 of the size, times the slope between pixels
    assert np.abs(resized - expected).max() <= 1e-6 * max(*old, *new)


@pytest.mark.parametrize("shape", [(1, 5, 5), (2, 300, 301), (19, 64, 80), (300, 20, 20)])
def test_argmax_is_numpys_with_ties_for_the_first(shape):
    planes = np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)
    labels, undefined = argmax(planes)
    assert undefined is None
    assert np.array_equal(labels, planes.argmax(axis=0))
    assert labels.dtype == (np.uint16 if shape[0] > 256 else np.uint8)
    cut = planes[:, : shape[1] - 1, : shape[2] - 2]
    assert np.array_equal(argmax(cut)[0], cut.argmax(axis=0))


@pytest.mark.parametrize("align_corners", [False, True])
def test_padding_is_cut_before_the_resize_as_in_mmseg(align_corners):
    scores = _noise(5, 64, 96)
    meta = ModelMeta("m", out_channels=5, align_corners=align_corners)
    labels = _post(scores, meta, Geometry((100, 140), (50, 70), (64, 96))).labels
    _assert_labels(labels, _resized(scores[:, :50, :70], (100, 140), align_corners))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("stride", "original"), [(4, (45, 61)), (4, (44, 60)), (8, (101, 37)), (3, (60, 60))]
)
def test_scores_at_a_stride_are_resized_once_to_the_image(stride, original, align_corners):
    scores = _noise(5, -(-original[0] // stride), -(-original[1] // stride))
    meta = ModelMeta("m", out_channels=5, output_stride=stride, align_corners=align_corners)
    labels = _post(scores, meta, Geometry.whole(original)).labels
    _assert_labels(labels, _resized(scores, original, align_corners))


@pytest.mark.parametrize("align_corners", [False, True])
def test_scores_at_a_stride_of_a_resized_image_are_resized_once(align_corners):
    """Not to the network's input first: that gives other labels."""
    scores = _noise(5, 13, 17)
    meta = ModelMeta("m", out_channels=5, output_stride=4, align_corners=align_corners)
    labels = _post(scores, meta, Geometry((90, 120), (49, 66), (49, 66))).labels
    _assert_labels(labels, _resized(scores, (90, 120), align_corners))
    twice = _resized(_resized(scores, (49, 66), align_corners).numpy(), (90, 120), align_corners)
    assert (labels != twice.argmax(0).numpy()).mean() > 0.002


def test_padding_at_a_multiple_of_the_stride_is_cut_from_the_scores():
    scores = _noise(5, 16, 24)
    meta = ModelMeta("m", out_channels=5, output_stride=4)
    labels = _post(scores, meta, Geometry((90, 120), (48, 72), (64, 96))).labels
    _assert_labels(labels, _resized(scores[:, :12, :18], (90, 120)))


@pytest.mark.parametrize(
    ("valid", "align_corners"),
    [
        *((valid, aligned) for valid in ((50, 70), (48, 70), (50, 72)) for aligned in (False, True)),
        ((48, 72), True),  # aligned corners are those of the padded input
    ],
)
def test_padding_between_two_scores_is_cut_at_the_size_of_the_input(valid, align_corners):
    scores = _noise(5, 16, 24)
    meta = ModelMeta("m", out_channels=5, output_stride=4, align_corners=align_corners)
    at_input = _resized(scores, (64, 96), align_corners)[:, : valid[0], : valid[1]]
    labels = _post(scores, meta, Geometry((90, 120), valid, (64, 96))).labels
    _assert_labels(labels, _resized(at_input.contiguous().numpy(), (90, 120), align_corners))
    labels = _post(scores, meta, Geometry(valid, valid, (64, 96))).labels
    _assert_labels(labels, at_input)


def test_scores_that_have_the_size_of_the_input_already_say_so():
    """Windows are put together at the size of the input, whatever the network's stride."""
    scores = _noise(5, 64, 96)
    meta = ModelMeta("m", out_channels=5, output_stride=4)
    for valid in ((50, 70), (48, 72)):
        labels = _post(scores, meta, Geometry(valid, valid, (64, 96)), at_input_size=True).labels
        assert np.array_equal(labels, scores[:, : valid[0], : valid[1]].argmax(0))


@pytest.mark.parametrize("threshold", [None, -0.5, 0.0, 0.1, 0.3, 0.5, 0.9, 1.0, 2.0])
def test_a_single_channel_is_thresholded_as_its_sigmoid(threshold):
    logits = np.linspace(-8, 8, 1001, dtype=np.float32).reshape(1, 7, 143)
    meta = ModelMeta("m", out_channels=1, activation="sigmoid", threshold=threshold)
    found = _post(logits, meta)
    probability = torch.from_numpy(logits).sigmoid()[0]
    expected = probability.double() > (0.5 if threshold is None else threshold)
    assert found.labels.dtype == np.uint8
    assert np.array_equal(found.labels, expected.numpy().astype(np.uint8))
    of_label = torch.where(expected, probability, 1 - probability).numpy()
    np.testing.assert_allclose(found.confidence, of_label, atol=1e-6)


@pytest.mark.parametrize("threshold", [None, -0.5, 0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_single_channel_of_probabilities_is_thresholded_as_it_is(threshold):
    values = np.linspace(0, 1, 1001, dtype=np.float32).reshape(1, 7, 143)
    meta = ModelMeta("m", out_channels=1, scores="probabilities", threshold=threshold)
    found = _post(values, meta, logits=False)
    expected = values[0] > np.float32(0.5 if threshold is None else threshold)
    assert np.array_equal(found.labels, expected)
    np.testing.assert_allclose(found.confidence, np.where(expected, values[0], 1 - values[0]))


@pytest.mark.parametrize("classes", [2, 5, 300])
def test_the_confidence_is_the_softmax_of_the_label(classes):
    scores = 4 * _noise(classes, 30, 41)
    found = _post(scores, ModelMeta("m", out_channels=classes))
    best, labels = torch.from_numpy(scores).softmax(0).max(0)
    assert np.array_equal(found.labels, labels)
    assert found.confidence.dtype == np.float32
    np.testing.assert_allclose(found.confidence, best.numpy(), rtol=1e-5)


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_confidence_of_resized_scores_is_that_of_their_softmax(align_corners):
    """The scores are resized, not the probabilities."""
    scores = 3 * _noise(4, 12, 16)
    meta = ModelMeta("m", out_channels=4, output_stride=4, align_corners=align_corners)
    found = _post(scores, meta, Geometry.whole((45, 61)))
    resized = _resized(scores, (45, 61), align_corners)
    np.testing.assert_allclose(found.confidence, resized.softmax(0).max(0).values, atol=1e-5)
    one = ModelMeta("m", out_channels=1, output_stride=4, align_corners=align_corners)
    found = _post(scores[:1], one, Geometry.whole((45, 61)))
    probability = resized[0].sigmoid()
    np.testing.assert_allclose(found.confidence, torch.maximum(probability, 1 - probability), atol=1e-5)


def test_the_confidence_of_huge_scores_is_finite():
    scores = np.array([[[1e4, -1e4, 0.0, 88.0]], [[0.0, 1e4, 0.0, -88.0]]], np.float32)
    found = _post(scores, ModelMeta("m", out_channels=2))
    assert found.confidence.tolist() == [[1.0, 1.0, 0.5, 1.0]]
    assert found.labels.tolist() == [[0, 1, 0, 0]], "of equals the first"
    one = _post(scores[:1], ModelMeta("m", out_channels=1))
    assert one.confidence.tolist() == [[1.0, 1.0, 0.5, 1.0]]


def test_probabilities_are_not_activated_again():
    """Scores of queries, softmax times sigmoid: not negative, and their sum need not be 1."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 0.6, (4, 20, 30)).astype(np.float32)
    scores[2, 3, 4] = 1.5
    found = _post(scores, ModelMeta("m", out_channels=4, scores="probabilities"), logits=False)
    assert np.array_equal(found.labels, scores.argmax(0))
    np.testing.assert_array_equal(found.confidence, scores.max(0).clip(0, 1))


def test_labels_do_not_depend_on_whether_the_confidence_is_computed():
    for scores in (
        _noise(5, 40, 50),
        np.zeros((5, 40, 50), np.float32),
        _noise(1, 40, 50),
        _noise(300, 9, 9),
    ):
        meta = ModelMeta("m", out_channels=len(scores))
        for geometry in (Geometry.whole(scores.shape[1:]), Geometry((33, 71), (8, 8), scores.shape[1:])):
            output = NetworkOutput(scores, geometry)
            plain = Postprocessor(meta)(output)
            assert plain.confidence is None
            sure = Postprocessor(meta, confidence=True)(output)
            assert plain.labels.dtype == sure.labels.dtype
            assert np.array_equal(plain.labels, sure.labels)


def test_winner_takes_ties_as_argmax_does():
    planes = np.random.default_rng(0).integers(-2, 3, (7, 50, 60)).astype(np.float32)
    for logits in (True, False):
        assert np.array_equal(winner(planes, logits=logits)[0], planes.argmax(0))


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
@pytest.mark.parametrize("classes", [1, 5])
def test_the_answer_for_a_mirrored_image_is_mirrored_back(direction, classes):
    scores = _noise(classes, 16, 24)
    axis = 2 if direction == "horizontal" else 1
    meta = ModelMeta("m", out_channels=classes, output_stride=4)
    plain = _post(scores, meta, Geometry((90, 120), (48, 72), (64, 96)))
    turned = _post(scores, meta, Geometry((90, 120), (48, 72), (64, 96), direction))
    for one, other in ((plain.labels, turned.labels), (plain.confidence, turned.confidence)):
        assert np.array_equal(np.flip(one, axis - 1), other)
        assert other.flags.c_contiguous
    assert not np.array_equal(plain.labels, turned.labels)


def test_labels_are_resized_by_nearest_neighbour_with_one_warning():
    reporter = QuietReporter()
    postprocess = Postprocessor(ModelMeta("m", out_channels=3), reporter)
    labels = np.array([[0, 1, 9], [2, 3, 9], [9, 9, 9]], np.uint8)
    found = postprocess(NetworkOutput(labels, Geometry((4, 4), (2, 2), (3, 3)))).labels
    assert np.array_equal(found, np.kron(labels[:2, :2], np.ones((2, 2), np.uint8)))
    postprocess(NetworkOutput(labels, Geometry((5, 5), (2, 2), (3, 3))))
    assert len(reporter.warnings) == 1
    assert "logits" in reporter.warnings[0]


def test_labels_of_the_right_size_are_only_cut():
    reporter = QuietReporter()
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    meta = ModelMeta("m", output_stride=4)  # labels have the size of the input whatever the stride
    cut = Postprocessor(meta, reporter)(NetworkOutput(labels, Geometry((2, 3), (2, 3), (3, 4)))).labels
    assert np.array_equal(cut, labels[:2, :3])
    assert not reporter.warnings


def test_labels_of_a_mirrored_image_are_mirrored_back():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    geometry = Geometry((2, 3), (2, 3), (3, 4), "horizontal")
    found = Postprocessor(ModelMeta("m"))(NetworkOutput(labels, geometry)).labels
    assert found.tolist() == [[2, 1, 0], [6, 5, 4]]


def test_ignored_pixels_need_a_type_that_holds_them():
    labels = np.array([[0, 1], [2, 3]], np.uint8)
    where = np.array([[True, False], [False, True]])
    kept = labels.copy()
    for ignored, kind in ((255, np.uint8), (65535, np.uint16), (256, np.uint16)):
        marked = mark_ignored(labels, where, ignored)
        assert marked.dtype == kind
        assert marked.tolist() == [[ignored, 1], [2, ignored]]
    assert np.array_equal(labels, kept), "the labels themselves are not changed"
    assert mark_ignored(labels, np.zeros_like(where), 65535) is labels


def test_labels_that_are_less_sure_become_the_ignored_one():
    prediction = Prediction(np.array([[0, 1, 2]], np.uint8), np.array([[0.5, 0.7, 0.49999]], np.float32))
    assert mark_unknown(prediction, 0.5, 255).tolist() == [[0, 1, 255]]
    assert mark_unknown(prediction, 0.0, 255).tolist() == [[0, 1, 2]]
    assert mark_unknown(prediction, 1.0, 65535).tolist() == [[65535] * 3]


def test_what_needs_scores_is_refused_for_labels_by_name():
    meta = ModelMeta("m", out_channels=3)
    require_scores(EngineSpec(meta, "logits"), "the confidence")
    with pytest.raises(UsageError) as raised:
        require_scores(EngineSpec(meta, "labels", backend="onnxruntime 1.31 (CPU)"), "the confidence")
    said = "the confidence needs the scores of every class, but onnxruntime 1.31 (CPU) gives labels"
    assert raised.value.message == said
    assert "--output-kind logits" in raised.value.hint
    with pytest.raises(UsageError) as raised:
        require_scores(EngineSpec(meta, "labels", input="image"), "the confidence")
    assert raised.value.message.endswith("but this engine gives labels")
    assert "?output=confidence" in raised.value.hint, "a server cannot be exported"

"""The statistics, each against a case that is worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.comparison import Thresholds
from segplug.errors import UsageError
from segplug.verification.compare import THRESHOLDS, Pair, compare


def logits(rng: np.random.Generator, classes: int = 5, size: int = 32) -> np.ndarray:
    return rng.normal(0, 4, (classes, size, size)).astype(np.float32)


def test_equal_outputs_pass(rng: np.random.Generator) -> None:
    reference = logits(rng)
    result = compare([Pair("a", reference, reference.copy())])
    assert result.passed
    assert (result.max_logit_difference, result.label_agreement, result.miou) == (0.0, 1.0, 1.0)
    assert result.worst_pixel is None


def test_rounding_passes_and_near_ties_are_left_out(rng: np.random.Generator) -> None:
    reference = logits(rng)
    reference[1] = reference[0]
    candidate = reference + rng.normal(0, 1e-6, reference.shape).astype(np.float32)
    result = compare([Pair("a", reference, candidate)])
    # Classes 0 and 1 tie wherever one of them is largest, so rounding turns labels there.
    assert result.label_agreement < 1.0
    assert result.firm_agreement == 1.0
    assert 0.1 < result.near_ties < 0.9
    assert result.passed


def test_one_wrong_pixel_is_found_where_it_is(rng: np.random.Generator) -> None:
    reference = logits(rng)
    candidate = reference.copy()
    candidate[:, 7, 11] = candidate[::-1, 7, 11]
    result = compare([Pair("good", reference, reference), Pair("bad", reference, candidate)])
    assert not result.passed
    assert (result.worst_input, result.worst_pixel) == ("bad", (7, 11))
    assert result.label_agreement == pytest.approx(1 - 1 / (2 * 32 * 32))


def test_one_wrong_image_among_correct_ones_fails(rng: np.random.Generator) -> None:
    # Small logits beside large ones: relative to the range of all, the error would vanish.
    small = logits(rng) / 1000
    large = logits(rng)
    result = compare([Pair("large", large, large), Pair("small", small, small + np.float32(1e-3))])
    assert not result.passed
    assert result.worst_input == "small"


def test_labels_are_compared_without_near_ties(rng: np.random.Generator) -> None:
    reference = logits(rng)
    labels = reference.argmax(axis=0)
    result = compare([Pair("a", reference, labels)])
    assert result.passed
    assert not result.logits_compared
    wrong = np.where(labels == 0, 1, labels)
    result = compare([Pair("a", reference, wrong)])
    assert not result.passed
    assert result.miou < 0.9


def test_a_size_that_the_artifact_does_not_run_is_a_failure(rng: np.random.Generator) -> None:
    reference = logits(rng)
    refused = Pair("wide", reference, np.empty(0), refusal="axis 3 is fixed")
    for pairs in ([Pair("a", reference, reference), refused], [refused]):
        result = compare(pairs)
        assert not result.passed
        assert result.failures == ("the artifact does not run wide: axis 3 is fixed",)


def test_undefined_logits_fail(rng: np.random.Generator) -> None:
    reference = logits(rng)
    candidate = reference.copy()
    candidate[0, 0, 0] = np.nan
    result = compare([Pair("a", reference, candidate)])
    assert not result.passed
    assert "infinite or undefined" in result.failures[0]


def test_a_label_that_is_no_class_is_wrong(rng: np.random.Generator) -> None:
    reference = logits(rng)
    labels = reference.argmax(axis=0)
    labels[:] = 200
    result = compare([Pair("a", reference, labels)])
    assert result.miou == 0.0
    assert not result.passed


def test_a_sigmoid_head_is_cut_at_its_threshold() -> None:
    reference = np.array([[[-3.0, -0.5, 0.5, 3.0]]], dtype=np.float32)
    labels = np.array([[0, 1, 1, 1]])
    assert compare([Pair("a", reference, labels)], threshold=0.3).passed
    assert not compare([Pair("a", reference, labels)], threshold=0.5).passed


def test_probabilities_of_one_channel_are_cut_at_the_threshold_itself() -> None:
    reference = np.array([[[0.05, 0.4, 0.6, 0.95]]], dtype=np.float32)
    labels = np.array([[0, 1, 1, 1]])
    assert compare([Pair("a", reference, labels)], threshold=0.3, logits=False).passed
    assert not compare([Pair("a", reference, labels)], threshold=0.5, logits=False).passed
    assert not compare([Pair("a", reference, labels)], logits=False).passed, "0.5 where there is none"
    every = np.ones((1, 4), int)
    assert compare([Pair("a", reference, every)], logits=False, threshold=0.0).passed
    # as logits, all of them would be above the threshold
    assert compare([Pair("a", reference, every)], threshold=0.3).passed


def test_thresholds_follow_the_precision_and_can_be_set(rng: np.random.Generator) -> None:
    reference = logits(rng)
    candidate = reference + np.float32(0.005) * np.ptp(reference)
    pair = Pair("a", reference, candidate)
    assert not compare([pair], precision="fp32").passed
    assert compare([pair], precision="fp16").passed
    assert not compare([pair], thresholds=Thresholds(logits=1e-4, firm_agreement=0, miou=0)).passed


def test_thresholds_loosen_with_the_precision() -> None:
    order = [THRESHOLDS[name] for name in ("fp32", "fp16", "bf16", "int8")]
    assert [item.logits for item in order] == sorted(item.logits for item in order)
    assert [item.firm_agreement for item in order] == sorted((i.firm_agreement for i in order), reverse=True)


def test_different_shapes_and_no_inputs_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match="gives"):
        compare([Pair("a", logits(rng), logits(rng, size=16))])
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_undefined_scores_on_both_sides_are_no_agreement(rng: np.random.Generator, value: float) -> None:
    reference = logits(rng)
    reference[1, 3, :5] = value
    for candidate in (reference.copy(), reference.argmax(axis=0)):
        result = compare([Pair("a", reference, candidate)])
        assert not result.passed
        assert (result.pixels, result.label_agreement, result.firm_agreement, result.miou) == (0, 0, 0, 0)
        (failure,) = result.failures
        assert "for a, in 5 of its 1024 pixels" in failure
        assert ("the artifact in 5: that is no agreement" in failure) == (candidate.ndim == 3)

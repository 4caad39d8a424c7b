"""Only pixels where rounding errors change the reference itself are left out of a comparison."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.verification.compare import Pair, compare
from segplug.verification.stability import MAX_UNSTABLE, find_unstable, perturbed_runs

SHAPE = (3, 40, 50)


@pytest.fixture
def reference() -> np.ndarray:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def moved(logits: np.ndarray, *places: tuple[int, int], by: float = 0.5) -> np.ndarray:
    other = logits.copy()
    for row, column in places:
        other[:, row, column] += by * np.array([1, -1, 1])
    return other


def runs(*answers: np.ndarray):
    return lambda: iter(answers)


def test_an_unstable_pixel_is_left_out(reference):
    pair = Pair("x", reference, moved(reference, (3, 4)), perturbed=runs(reference, moved(reference, (3, 4))))
    result = compare([pair])
    assert result.passed
    assert result.unstable == 1 / (40 * 50)
    assert result.pixels == 40 * 50 - 1
    assert result.relative_difference == result.max_logit_difference == 0
    assert result.label_agreement == 1.0


def test_a_stable_pixel_is_not_left_out(reference):
    candidate = moved(reference, (3, 4), (20, 7))
    result = compare([Pair("x", reference, candidate, perturbed=runs(moved(reference, (3, 4))))])
    assert not result.passed
    assert result.worst_pixel == (20, 7)


def test_unstable_labels_are_left_out(reference):
    labels = reference.argmax(0)
    labels[3, 4] = (labels[3, 4] + 1) % 3
    other = moved(reference, (3, 4), by=9.0)
    assert compare([Pair("x", reference, labels, perturbed=runs(other))]).unstable > 0
    assert not compare([Pair("x", reference, labels, perturbed=runs(reference))]).passed


def test_nothing_is_left_out_if_the_reference_is_unstable_everywhere(reference):
    everywhere = reference + 0.5
    result = compare([Pair("x", reference, moved(reference, (3, 4)), perturbed=runs(everywhere))])
    assert not result.passed
    assert result.unstable == 0


def test_the_reference_does_not_run_again_for_an_artifact_within_the_thresholds(reference):
    def never():
        raise AssertionError("the reference is run again")

    assert compare([Pair("x", reference, reference + 1e-5, perturbed=never)]).passed


def test_undefined_logits_fail_where_the_reference_is_stable(reference):
    candidate = reference.copy()
    candidate[0, 1, 1] = np.nan
    assert not compare([Pair("x", reference, candidate, perturbed=runs(reference, reference))]).passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_undefined_logits_fail_where_the_reference_is_unstable(reference, value):
    candidate = reference.copy()
    candidate[:, 3, 4] = value
    assert not compare([Pair("x", reference, candidate, perturbed=runs(moved(reference, (3, 4))))]).passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("labels", [False, True])
def test_a_reference_with_undefined_logits_fails(reference, value, labels):
    broken = reference.copy()
    broken[1, 3, 4] = value
    result = compare([Pair("x", broken, reference.argmax(0) if labels else reference)])
    assert not result.passed
    assert "the model itself" in result.failures[0]


def test_the_reference_does_not_run_again_for_an_artifact_that_is_wrong_everywhere(reference):
    def answers():
        raise AssertionError("the reference is run again")
        yield reference

    assert not compare([Pair("x", reference, -reference, perturbed=answers)]).passed


def test_the_reference_does_not_run_again_where_thresholds_allow_wrong_labels(reference):
    def answers():
        raise AssertionError("the reference is run again")
        yield reference

    labels = reference.argmax(0)
    labels[0, 0] = (labels[0, 0] + 1) % 3
    result = compare([Pair("x", reference, labels, perturbed=answers)], precision="int8")
    assert result.passed
    assert result.unstable == 0
    assert 0 < 1 - result.label_agreement < 0.001


def test_runs_stop_when_every_suspect_is_unstable(reference):
    taken = []

    def answers():
        for answer in (reference, moved(reference, (1, 1)), reference):
            taken.append(answer)
            yield answer

    suspects = np.zeros(SHAPE[1:], dtype=bool)
    suspects[1, 1] = True
    unstable = find_unstable(reference, answers(), suspects, 1e-3)
    assert unstable is not None
    assert np.array_equal(unstable, suspects)
    assert len(taken) == 2
    assert unstable.mean() <= MAX_UNSTABLE


def test_inputs_change_by_no_more_than_rounding():
    batch = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    perturbed = list(perturbed_runs(lambda array: array, batch))
    assert len(perturbed) > 16
    for array in perturbed:
        assert array.dtype == np.float32
        assert 0 < np.abs(array / batch - 1).max() < 2**-21
    assert not np.array_equal(perturbed[0], perturbed[1])
    assert np.array_equal(perturbed[0], next(perturbed_runs(lambda array: array, batch)))

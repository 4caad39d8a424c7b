"""Comparisons of models that decide each class alone: a pixel agrees if its whole set of classes does."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.verification.compare import Pair, compare


def _reference(channels: int = 3, size: tuple[int, int] = (50, 60)) -> np.ndarray:
    """Logits without near-ties of 0: at least 1 from it."""
    scores = np.random.default_rng(0).normal(0, 3, (channels, *size))
    return (scores + np.sign(scores)).astype(np.float32)


def _bits(there: np.ndarray) -> np.ndarray:
    return (there * (1 << np.arange(len(there)))[:, None, None]).sum(axis=0)


def test_equal_scores_agree_and_a_changed_class_does_not() -> None:
    reference = _reference()
    assert compare([Pair("a", reference, reference.copy())], multilabel=True).label_agreement == 1
    candidate = reference.copy()
    candidate[2, 5, 7] *= -1  # the largest score of the pixel may be another one
    found = compare([Pair("a", reference, candidate)], multilabel=True)
    assert found.label_agreement == 1 - 1 / 3000
    assert (found.passed, found.worst_pixel) == (False, (5, 7))
    # Of one label for each pixel it is no difference of labels, if the class is not the largest.
    reference[:, 5, 7], candidate[:, 5, 7] = (9, -2, -3), (9, -2, 3)
    assert compare([Pair("a", reference, candidate)]).label_agreement == 1
    assert compare([Pair("a", reference, candidate)], multilabel=True).label_agreement == 1 - 1 / 3000


@pytest.mark.parametrize("channels", [3, 15])
def test_bit_masks_are_compared_with_scores(channels: int) -> None:
    reference = _reference(channels)
    labels = _bits(reference > 0)
    found = compare([Pair("a", reference, labels)], multilabel=True)
    assert (found.passed, found.label_agreement, found.miou, found.near_ties) == (True, 1, 1, 0)
    labels[3, 4] ^= 1 << (channels - 1)
    labels[9, 9] = 1 << channels  # no set of the classes, not even the empty one
    reference[:, 9, 9] = -5
    found = compare([Pair("a", reference, labels)], multilabel=True)
    assert (found.passed, found.label_agreement) == (False, 1 - 2 / 3000)


def test_the_mean_iou_is_that_of_each_class() -> None:
    reference, candidate = _reference(), _reference()
    candidate[0, :10] = -candidate[0, :10]
    found = compare([Pair("a", reference, candidate)], multilabel=True)
    one, other = reference > 0, candidate > 0
    iou = (one & other).sum(axis=(1, 2)) / (one | other).sum(axis=(1, 2))
    assert iou[0] < 1
    assert found.miou == pytest.approx(iou.mean())


@pytest.mark.parametrize(("logits", "threshold"), [(True, None), (True, 0.8), (False, None), (False, 0.3)])
def test_a_near_tie_is_a_score_of_any_class_near_its_threshold(logits: bool, threshold: float | None) -> None:
    probability = 0.5 if threshold is None else threshold
    cut = np.log(probability / (1 - probability)) if logits else probability
    reference = np.full((3, 4, 5), cut, np.float32)
    reference[0], reference[1], reference[2] = cut + 0.2, cut - 0.2, cut + 0.1
    reference[1, 1, 1] = cut - 1e-5
    candidate = reference.copy()
    candidate[1, 1, 1] = cut + 1e-5
    options = {"logits": logits, "threshold": threshold, "multilabel": True}
    found = compare([Pair("a", reference, candidate)], **options)
    assert (found.near_ties, found.firm_agreement, found.label_agreement) == (1 / 20, 1, 19 / 20)
    assert found.passed
    candidate[2, 0, 0] = cut - 0.1
    assert compare([Pair("a", reference, candidate)], **options).firm_agreement == 18 / 19


def test_any_number_of_classes_is_compared() -> None:
    """More than a bit mask holds."""
    reference = _reference(70)
    candidate = reference.copy()
    candidate[69, 0, 0] *= -1
    assert compare([Pair("a", reference, reference)], multilabel=True).passed
    assert compare([Pair("a", reference, candidate)], multilabel=True).label_agreement == 1 - 1 / 3000

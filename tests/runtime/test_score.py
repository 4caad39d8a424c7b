"""Counts and metrics equal mmseg's."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from segplug.errors import DatasetError, UsageError
from segplug.runtime.score import count, score
from segplug.scores import Counts

CLASSES = ("sky", "road", "car", "tree", "rare")


def _pairs(number=4, seed=0, highest=4):
    """Predictions and masks with ignored pixels and an absent class."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        mask = rng.integers(0, highest, (40, 50)).astype(np.uint8)
        prediction = np.where(rng.random(mask.shape) < 0.7, mask, rng.integers(0, highest, mask.shape))
        mask[rng.random(mask.shape) < 0.1] = 255
        yield prediction.astype(np.uint8), mask


def _count(prediction, mask, ignore_index=255, num_classes=5):
    return count(prediction, mask, num_classes=num_classes, ignore_index=ignore_index, name="a.png")


def _total(pairs, **settings):
    return sum((_count(*pair, **settings)[0] for pair in pairs), Counts.zeros(len(CLASSES)))


@pytest.mark.parametrize("ignore_index", [255, 2, 11, 4])
@pytest.mark.parametrize("highest", [4, 12])
def test_counts_are_mmsegs(mmseg, ignore_index, highest):
    from mmseg.core.evaluation.metrics import intersect_and_union

    for prediction, mask in _pairs(seed=3, highest=highest):
        expected = intersect_and_union(prediction, mask.copy(), len(CLASSES), ignore_index)
        counts, strange = _count(prediction, mask, ignore_index)
        assert counts.intersect.tolist() == expected[0].tolist()
        assert counts.prediction.tolist() == expected[2].tolist()
        assert counts.label.tolist() == expected[3].tolist()
        assert counts.intersect.dtype == np.uint64
        outside = set(np.unique(mask).tolist()) - set(range(len(CLASSES))) - {ignore_index}
        assert set(strange) == outside


def test_wide_predictions_and_many_classes_count_the_same(mmseg):
    from mmseg.core.evaluation.metrics import intersect_and_union

    rng = np.random.default_rng(0)
    mask = rng.integers(0, 256, (60, 70)).astype(np.uint8)
    prediction = np.where(rng.random(mask.shape) < 0.5, mask, rng.integers(0, 400, mask.shape)).astype(
        np.uint16
    )
    for classes in (300, 150):
        counts, _ = _count(prediction, mask, num_classes=classes)
        expected = intersect_and_union(prediction.astype(np.int64), mask.astype(np.int64), classes, 255)
        assert counts.intersect.tolist() == expected[0].tolist()
        assert counts.prediction.tolist() == expected[2].tolist()
        assert counts.label.tolist() == expected[3].tolist()


@pytest.mark.parametrize("ignore_index", [255, 65535, 299, 1000])
@pytest.mark.parametrize("classes", [256, 300, 1000])
def test_wide_masks_are_counted_as_mmseg_does(mmseg, classes, ignore_index):
    from mmseg.core.evaluation.metrics import intersect_and_union

    rng = np.random.default_rng(classes)
    mask = rng.integers(0, classes, (60, 70)).astype(np.uint16)
    prediction = np.where(rng.random(mask.shape) < 0.5, mask, rng.integers(0, classes, mask.shape))
    mask[rng.random(mask.shape) < 0.1] = ignore_index
    mask[3, :5] = 40000
    for kind in (np.uint8 if classes == 256 else np.uint16, np.uint32):
        counts, strange = _count(prediction.astype(kind), mask, ignore_index, classes)
        expected = intersect_and_union(prediction, mask.astype(np.int64), classes, ignore_index)
        assert counts.intersect.tolist() == expected[0].tolist()
        assert counts.prediction.tolist() == expected[2].tolist()
        assert counts.label.tolist() == expected[3].tolist()
        assert counts.intersect.sum() > 1000
        assert strange == (40000,)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("highest", [1, 2, 4])
def test_one_class_is_counted_as_mmseg_does(mmseg, kind, highest):
    """Its histogram of one bin holds every value: each pixel is predicted, and labelled."""
    from mmseg.core.evaluation.metrics import intersect_and_union

    for prediction, mask in _pairs(seed=highest, highest=highest):
        prediction = np.minimum(prediction, 1)
        expected = intersect_and_union(prediction, mask.copy(), 1, 255)
        counts, strange = _count(prediction, mask.astype(kind), num_classes=1)
        assert counts.intersect.tolist() == expected[0].tolist()
        assert counts.prediction.tolist() == expected[2].tolist()
        assert counts.label.tolist() == expected[3].tolist()
        assert strange == ()
    nothing = np.full((4, 5), 255, kind)
    assert _count(np.zeros((4, 5), np.uint8), nothing, num_classes=1)[0].label.tolist() == [0]


def test_another_size_of_a_mask_of_one_class_is_refused_by_name():
    with pytest.raises(DatasetError, match=r"a\.png.*3x4.*5x6"):
        _count(np.zeros((5, 6), np.uint8), np.zeros((3, 4), np.uint8), num_classes=1)


def test_unknown_labels_count_for_no_class(mmseg):
    """As mmseg counts a prediction that is the ignored label."""
    from mmseg.core.evaluation.metrics import intersect_and_union

    for prediction, mask in _pairs():
        prediction[5:9] = 255
        expected = intersect_and_union(prediction, mask.copy(), len(CLASSES), 255)
        counts, _ = _count(prediction, mask)
        assert counts.intersect.tolist() == expected[0].tolist()
        assert counts.prediction.tolist() == expected[2].tolist()
        assert counts.label.tolist() == expected[3].tolist()
        assert counts.label.sum() > counts.prediction.sum()


@pytest.mark.parametrize("nan_to_num", [None, 0, -1])
@pytest.mark.parametrize("metrics", [["mIoU"], ["mDice"], ["mFscore"], ["mIoU", "mDice", "mFscore"]])
def test_metrics_are_mmsegs(mmseg, metrics, nan_to_num):
    from mmseg.core.evaluation.metrics import intersect_and_union, pre_eval_to_metrics

    pairs = list(_pairs())
    expected = pre_eval_to_metrics(
        [intersect_and_union(p, m.copy(), len(CLASSES), 255) for p, m in pairs], metrics, nan_to_num, beta=2
    )
    scores = score(
        [("all", _total(pairs))],
        classes=CLASSES,
        images=len(pairs),
        metrics=metrics,
        nan_to_num=nan_to_num,
        beta=2,
    )
    assert scores.metrics["aAcc"] == pytest.approx(float(expected.pop("aAcc")))
    assert set(scores.per_class) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(scores.per_class[name], values, rtol=1e-6)
        assert scores.metrics[f"m{name}"] == pytest.approx(float(np.nanmean(values)), rel=1e-6)
        for label, value in zip(CLASSES, values, strict=True):
            np.testing.assert_allclose(scores.metrics[f"{name}.{label}"], value, rtol=1e-6)


def test_names_are_those_of_mmsegs_evaluate(mmseg):
    from mmseg.core.evaluation.metrics import intersect_and_union
    from mmseg.datasets import CustomDataset

    pairs = list(_pairs())
    dataset = CustomDataset.__new__(CustomDataset)
    dataset.CLASSES = CLASSES
    results = [intersect_and_union(p, m.copy(), len(CLASSES), 255) for p, m in pairs]
    metrics = ["mIoU", "mDice", "mFscore"]
    expected = dataset.evaluate(results, metric=metrics, logger="silent")
    ours = score([("all", _total(pairs))], classes=CLASSES, images=4, metrics=metrics).metrics
    assert set(ours) == set(expected)
    for name, value in expected.items():
        if not math.isnan(value):
            assert ours[name] == pytest.approx(value, abs=5.1e-5)


def test_parts_are_scored_apart_and_together():
    one, two = _total(_pairs(2, seed=1)), _total(_pairs(3, seed=2))
    scores = score([("day", one), ("night", two)], classes=CLASSES, images=5)
    alone = score([("x", two)], classes=CLASSES, images=3)
    assert scores.metrics["1_mIoU"] == alone.metrics["mIoU"]
    assert scores.metrics["1_IoU.sky"] == alone.metrics["IoU.sky"]
    pooled = score([("x", one + two)], classes=CLASSES, images=5)
    assert scores.metrics["mIoU"] == pooled.metrics["mIoU"]
    assert scores.parts == ("day", "night")


def test_the_report_is_json_with_null_for_what_is_not_defined():
    scores = score([("all", _total(_pairs()))], classes=CLASSES, images=4)
    assert math.isnan(scores.metrics["IoU.rare"])
    plain = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert plain["metrics"]["IoU.rare"] is None
    assert plain["per_class"]["IoU"][-1] is None
    assert plain["metrics"]["mIoU"] == scores.metrics["mIoU"]


def test_counting_does_not_change_its_inputs():
    prediction, mask = next(_pairs())
    kept = prediction.copy(), mask.copy()
    _count(prediction, mask)
    assert np.array_equal(prediction, kept[0])
    assert np.array_equal(mask, kept[1])


def test_another_size_is_refused_by_name():
    with pytest.raises(DatasetError, match=r"a\.png.*3x4.*5x6"):
        _count(np.zeros((5, 6), np.uint8), np.zeros((3, 4), np.uint8))


def test_an_unknown_metric_is_refused():
    with pytest.raises(UsageError, match="mIoU, mDice, mFscore"):
        score([], classes=CLASSES, images=0, metrics=["mAP"])


def test_large_counts_stay_exact():
    """The float32 histograms of mmseg lose single pixels above 2**24; ours do not."""
    prediction = np.zeros((4100, 4100), np.uint8)
    counts, _ = _count(prediction, prediction)
    assert counts.intersect[0] == 4100 * 4100
    assert torch.tensor(4100.0 * 4100.0) > 2**24


def test_a_class_of_several_that_is_never_found_has_the_score_0():
    counts = Counts(*(np.array(row, np.uint64) for row in ([3, 0], [4, 0], [5, 6])))
    found = score(
        [("d", counts)], classes=("a", "b"), images=1, metrics=("mFscore", "mDice"), multilabel=True
    )
    assert found.per_class["Fscore"] == pytest.approx(found.per_class["Dice"])
    assert found.metrics["mFscore"] == pytest.approx(found.metrics["mDice"])

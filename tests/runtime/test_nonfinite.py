"""Scores that are NaN or infinite: counted, named, and an error unless they are allowed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from segplug.dataset import DatasetInfo
from segplug.engine import EngineSpec
from segplug.errors import NonfiniteError
from segplug.model import Inference, ModelMeta
from segplug.preprocessing import Flip, Resize
from segplug.progress import QuietReporter
from segplug.runtime.pipeline import run
from segplug.runtime.postprocess import NetworkOutput, Postprocessor
from segplug.runtime.segment import Segmenter
from segplug.runtime.sinks import ScoreSink
from segplug.runtime.sizes import Geometry
from segplug.scores import Nonfinite
from segplug.testing.engines import ArrayDataset, FunctionEngine

META = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)
INFO = DatasetInfo("d", META.classes, fingerprint="d")


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy's own about NaN are no messages for users
        yield


def _postprocessed(scores, *, confidence=False, allow=True, size=None, **output):
    whole = Geometry.whole(scores.shape[1:])
    geometry = Geometry(size, whole.valid, whole.network) if size else whole
    meta = ModelMeta("m", out_channels=len(scores))
    postprocess = Postprocessor(meta, confidence=confidence, allow_nonfinite=allow)
    return postprocess(NetworkOutput(scores.astype(np.float32), geometry, **output), "a.png")


@pytest.mark.parametrize("channels", [1, 3, 40])
@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("channel", [0, -1])
@pytest.mark.parametrize("kind", ["array", "flat blocks", "cut"])
def test_each_pixel_with_such_a_score_is_found(channels, confidence, logits, value, channel, kind):
    size = (300, 400) if kind == "flat blocks" and channels < 40 else (6, 7)
    scores = np.random.default_rng(0).random((channels, *size), np.float32)
    sound = _postprocessed(scores, confidence=confidence, logits=logits)
    assert sound.undefined is None
    places = {(0, 0), (2, 5), (size[0] - 1, size[1] - 1)}
    for row, column in places:
        scores[channel, row, column] = value
    if kind == "cut":  # not contiguous
        scores = np.repeat(scores, 2, axis=2)[:, :, ::2]
    found = _postprocessed(scores, confidence=confidence, logits=logits)
    assert set(zip(*map(list, np.nonzero(found.undefined)), strict=True)) == places
    assert np.array_equal(found.labels[~found.undefined], sound.labels[~found.undefined])
    if confidence:
        assert (found.confidence[found.undefined] == 0).all()
        assert np.array_equal(found.confidence[~found.undefined], sound.confidence[~found.undefined])
    with pytest.raises(NonfiniteError, match=f"for 3 of the {size[0] * size[1]} pixels of the image a.png"):
        _postprocessed(scores, confidence=confidence, logits=logits, allow=False)


@pytest.mark.parametrize("confidence", [False, True])
def test_a_class_that_is_ruled_out_is_no_fault(confidence):
    """A score of minus infinity has a probability of 0; softmax and argmax are defined."""
    scores = np.full((4, 2, 3), -np.inf)
    scores[3] = 1.5
    scores[2, 0] = 1.5
    found = _postprocessed(scores, confidence=confidence, allow=False)
    assert found.labels.tolist() == [[2, 2, 2], [3, 3, 3]]
    if confidence:
        assert found.confidence.tolist() == [[0.5] * 3, [1.0] * 3]


@pytest.mark.parametrize("confidence", [False, True])
def test_if_all_classes_are_ruled_out_there_is_no_label(confidence):
    scores = np.zeros((2, 1, 2))
    scores[:, 0, 1] = -np.inf
    assert _postprocessed(scores, confidence=confidence).undefined.tolist() == [[False, True]]


@pytest.mark.parametrize("confidence", [False, True])
def test_scores_whose_sum_is_too_large_are_finite(confidence):
    scores = np.full((2, 50, 50), np.finfo(np.float32).max)
    assert _postprocessed(scores, confidence=confidence, allow=False).undefined is None


@pytest.mark.parametrize("align", [False, True])
def test_resizing_does_not_hide_them(align):
    scores = np.ones((3, 4, 4), np.float32)
    scores[1, 2, 2] = np.nan
    assert _postprocessed(scores, size=(9, 11)).undefined.sum() >= 4


def _dataset(number, bad, value=np.nan):
    """Images of zeros; those in ``bad`` begin with 200, for which :func:`_network` gives ``value``."""
    images = [np.zeros((4, 5, 3), np.uint8) for _ in range(number)]
    for index in bad:
        images[index][0, :2, 0] = 200
    return ArrayDataset(images, [np.zeros((4, 5), np.uint8)] * number, INFO), _network(value)


def _network(value, meta=META):
    def scores(batch):
        found = batch[:, : meta.out_channels].astype(np.float32).copy()
        found[found >= 190] = value
        return found

    return FunctionEngine(EngineSpec(meta, "logits", backend="test"), scores)


class Labels:
    needs_image = needs_mask = needs_confidence = False
    key = "labels"

    def __init__(self):
        self.found = {}

    def open(self, run): ...

    def close(self, *, finished): ...

    def has(self, index, notes):
        return True

    def restore(self, index, notes):
        self.found[index] = None

    def consume(self, result):
        self.found[result.index] = result.labels
        return {}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_run_fails_and_names_the_image_and_how_many_pixels(value, on_error):
    dataset, engine = _dataset(5, [3], value)
    labels = Labels()
    with pytest.raises(NonfiniteError, match=r"for 2 of the 20 pixels of the image .*3.*allow-nonfinite"):
        run(engine, dataset, [labels], on_error=on_error)
    assert sorted(labels.found) == [0, 1, 2], "no sink gets labels that mean nothing"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_run_that_allows_them_counts_and_names_them(value):
    dataset, engine = _dataset(5, [1, 3], value)
    labels, scores, reporter = Labels(), ScoreSink(), QuietReporter()
    report = run(engine, dataset, [labels, scores], allow_nonfinite=True, reporter=reporter)
    assert report.images == 5
    assert report.nonfinite == (Nonfinite(dataset.name(1), 2), Nonfinite(dataset.name(3), 2))
    assert report.to_dict()["nonfinite"][0] == {"name": dataset.name(1), "pixels": 2}
    assert any("2 images are NaN or infinite in 4 pixels" in line for line in report.warnings)
    assert report.warnings == tuple(reporter.warnings)
    assert labels.found[1].tolist() == [[255, 255, 0, 0, 0], *[[0] * 5] * 3]
    assert scores.scores.metrics["aAcc"] == 1 - 4 / 100, "such a pixel counts as wrong, not as class 0"


def test_they_are_unknown_below_any_probability():
    dataset, engine = _dataset(2, [1])
    report = run(engine, dataset, [], allow_nonfinite=True, unknown_below=0.1)
    assert report.unknown_share == 2 / 40


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("way", ["tta", "slide"])
def test_averages_do_not_hide_them(way, value, channels):
    """Softmax, sigmoid and sums pass them on: of one view, and of one window."""
    views = ((Resize(),), (Resize(), Flip("horizontal"))) if way == "tta" else ()
    inference = Inference("slide", (3, 3), (2, 2)) if way == "slide" else Inference()
    classes = META.classes if channels == 3 else ("x",)
    meta = ModelMeta("m", classes=classes, out_channels=channels, tta=views, inference=inference)
    dataset, _ = _dataset(2, [1])
    seen = []

    def scores(batch):
        found = batch[:, :channels].astype(np.float32).copy()
        if (found >= 190).any() and not seen:  # only the first view or window
            seen.append(1)
            found[found >= 190] = value
        return found

    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), scores)
    with pytest.raises(NonfiniteError, match="for 2 of the 20 pixels"):
        run(engine, dataset, [])


def _interrupt_a_run(engine, dataset) -> None:
    """A run that allows them, and ends at the fifth image."""
    calls = []

    def interrupted(batch):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return engine.run(batch)

    with pytest.raises(KeyboardInterrupt):
        run(FunctionEngine(engine.spec, interrupted), dataset, [Labels()], run_key="k", allow_nonfinite=True)


def test_a_resumed_run_that_does_not_allow_them_fails_at_them_again():
    dataset, engine = _dataset(5, [1])
    _interrupt_a_run(engine, dataset)
    labels = Labels()
    with pytest.raises(NonfiniteError, match=r"for 2 of the 20 pixels of the image 0001\.png"):
        run(engine, dataset, [labels], run_key="k", resume=True)
    assert 1 not in labels.found


def test_a_run_that_failed_goes_on_with_the_image_at_which_it_failed_if_they_are_allowed():
    dataset, engine = _dataset(5, [1])
    with pytest.raises(NonfiniteError):
        run(engine, dataset, [Labels()], run_key="k")
    report = run(engine, dataset, [Labels()], run_key="k", resume=True, allow_nonfinite=True)
    assert report.resumed == 1
    assert report.nonfinite == (Nonfinite(dataset.name(1), 2),)


def test_an_interrupted_run_that_allowed_them_reports_them_when_resumed():
    dataset, engine = _dataset(5, [1])
    _interrupt_a_run(engine, dataset)
    report = run(engine, dataset, [Labels()], run_key="k", resume=True, allow_nonfinite=True)
    assert report.resumed >= 2
    assert report.nonfinite == (Nonfinite(dataset.name(1), 2),)
    assert report.warnings


@pytest.mark.parametrize("confidence", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_images_in_memory_get_an_error_of_their_own(confidence, batch_size):
    dataset, engine = _dataset(4, [2])
    images = [dataset.read_image(index, META.decoding) for index in range(4)]
    found = Segmenter(engine, batch_size=batch_size)(images, confidence=confidence, names=list("abcd"))
    assert [isinstance(each, NonfiniteError) for each in found] == [False, False, True, False]
    assert "of the image c" in found[2].message
    assert len(engine.shapes) == -(-4 // batch_size), "the network does not run again"

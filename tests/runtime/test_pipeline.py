"""Runs: order, batches, bounds, errors, interruptions."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
import weakref

import cv2
import numpy as np
import pytest

from segplug.dataset import DatasetInfo
from segplug.engine import Axis, EngineSpec
from segplug.errors import (
    DatasetError,
    MissingDependencyError,
    PluginError,
    ShapeError,
    UsageError,
)
from segplug.model import Inference, ModelMeta
from segplug.progress import QuietReporter
from segplug.runtime.pipeline import run
from segplug.runtime.sinks import ScoreSink
from segplug.testing.engines import ArrayDataset, FunctionEngine

META = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def _image(index: int, size=(16, 24)) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (*size, 3), dtype=np.uint8)


def _labels(image: np.ndarray) -> np.ndarray:
    return image.argmax(axis=2).astype(np.uint8)


def _engine(function=lambda batch: batch.copy(), output="logits", **axes) -> FunctionEngine:
    return FunctionEngine(EngineSpec(META, output, backend="test", **axes), function)


class Collect:
    """A sink that keeps labels in the order they come."""

    needs_image = False
    needs_mask = False
    needs_confidence = False
    key = "collect"

    def __init__(self):
        self.names, self.labels, self.finished = [], [], None

    def open(self, run):
        pass

    def consume(self, result):
        self.names.append(result.name)
        self.labels.append(result.labels)
        return {}

    def has(self, index, notes):
        return True

    def restore(self, index, notes):
        self.names.append(f"restored {index}")

    def close(self, *, finished):
        self.finished = finished


class Lazy:
    """A data set that makes its images when they are read."""

    def __init__(self, number, make=_image, masks=False, read=lambda index: None):
        self._number, self._make, self._read = number, make, read
        self.info = DatasetInfo("lazy", META.classes, has_masks=masks, fingerprint=f"lazy {number}")

    def __len__(self):
        return self._number

    def name(self, index):
        return f"{index}.png"

    def read_image(self, index, decoding):
        self._read(index)
        return self._make(index)

    def read_mask(self, index):
        return _labels(self._make(index))


@pytest.mark.parametrize("readers", [1, 4])
def test_results_come_in_order_whatever_reading_takes(readers):
    slow_first = Lazy(12, read=lambda index: time.sleep(0.03 if index % 4 == 0 else 0))
    sink = Collect()
    report = run(_engine(), slow_first, [sink], readers=readers)
    assert sink.names == [f"{index}.png" for index in range(12)]
    for index, labels in enumerate(sink.labels):
        assert np.array_equal(labels, _labels(_image(index)))
    assert sink.finished is True
    assert report.images == 12
    assert report.images_per_second > 0
    assert 0 <= report.engine_seconds <= report.seconds
    json.dumps(report.to_dict(), allow_nan=False)


def test_engine_and_reading_and_consuming_overlap():
    """While the engine is in its third run, later images are read and earlier ones consumed."""
    read, sink = [], Collect()
    seen = {}

    def function(batch):
        if len(engine.shapes) == 3:
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and not (len(read) > 3 and len(sink.names) == 2):
                time.sleep(0.005)
            seen.update(read=len(read), consumed=len(sink.names))
        return batch.copy()

    engine = _engine(function)
    run(engine, Lazy(8, read=read.append), [sink], readers=2)
    assert seen["read"] > 3
    assert seen["consumed"] == 2


def test_the_engine_runs_in_the_callers_thread():
    threads = set()
    run(_engine(lambda batch: threads.add(threading.get_ident()) or batch.copy()), Lazy(3), [])
    assert threads == {threading.get_ident()}


def test_equal_shapes_are_batched_and_others_are_not():
    sizes = [(16, 24)] * 5 + [(20, 20)] + [(16, 24)] * 2
    sink = Collect()
    engine = _engine()
    run(engine, Lazy(8, lambda index: _image(index, sizes[index])), [sink], batch_size=3)
    assert [shape[0] for shape in engine.shapes] == [3, 2, 1, 2]
    assert len(sink.labels) == 8
    for index, labels in enumerate(sink.labels):
        assert np.array_equal(labels, _labels(_image(index, sizes[index])))


@pytest.mark.parametrize(
    ("axis", "wanted", "batches"),
    [
        (Axis.fixed(4), 1, [4, 4]),
        (Axis(1, 2), 16, [2, 2, 2, 1]),
        (Axis(2, 8), 1, [2] * 7),
        (Axis(2, 8, 2), 3, [4, 4, 2]),
        (Axis(1, 1), 8, [1] * 7),
    ],
)
def test_batches_keep_to_the_engines_axis(axis, wanted, batches):
    sink, engine = Collect(), _engine(batch=axis)
    run(engine, Lazy(7), [sink], batch_size=wanted)
    assert [shape[0] for shape in engine.shapes] == batches
    assert all(np.array_equal(labels, _labels(_image(i))) for i, labels in enumerate(sink.labels))
    assert len(sink.labels) == 7


def test_an_engine_may_reuse_its_output():
    buffer = np.empty((1, 3, 16, 24), np.float32)

    def function(batch):
        buffer[:] = batch
        return buffer

    sink = Collect()
    run(_engine(function), Lazy(20), [sink])
    assert len(sink.labels) == 20
    assert all(np.array_equal(labels, _labels(_image(i))) for i, labels in enumerate(sink.labels))


def test_an_engine_may_give_labels_of_any_integer_type():
    sink = Collect()
    run(_engine(lambda batch: batch.argmax(axis=1), "labels"), Lazy(4), [sink])
    assert len(sink.labels) == 4
    assert all(np.array_equal(labels, _labels(_image(i))) for i, labels in enumerate(sink.labels))
    assert sink.labels[0].dtype == np.uint8


@pytest.mark.parametrize(
    "function",
    [lambda batch: batch[:, :2], lambda batch: batch[0], lambda batch: batch.astype(int), lambda batch: None],
)
def test_an_output_against_the_spec_is_a_plugin_error(function):
    with pytest.raises(PluginError, match="spec"):
        run(_engine(function), Lazy(2), [])


def test_a_slide_model_runs_on_windows():
    meta = META.replace(inference=Inference("slide", (8, 8), (5, 5)))
    sink = Collect()
    engine = FunctionEngine(
        EngineSpec(meta, "logits", backend="t", batch=Axis(1, 4)), lambda batch: batch.copy()
    )
    run(engine, Lazy(3), [sink])
    assert {shape[2:] for shape in engine.shapes} == {(8, 8)}
    assert len(sink.labels) == 3
    for index, labels in enumerate(sink.labels):
        assert (labels == _labels(_image(index))).mean() > 0.99  # equal but for ties that rounding turns


class _Token:
    """Exists as long as the array that holds it."""


class _Tracked(np.ndarray):
    """An array that can hold a token."""


def test_memory_does_not_grow_with_the_data_set():
    alive: weakref.WeakSet = weakref.WeakSet()
    most = {}

    def make(index):
        array = _image(index).view(_Tracked)
        array.token = _Token()
        alive.add(array.token)
        return array

    class Count(Collect):
        needs_image = True

        def consume(self, result):
            most[result.index] = len(alive)
            return {}

    for number in (20, 120):
        gc.collect()
        run(_engine(), Lazy(number, make), [Count()], readers=2)
    assert 2 <= max(most.values()) <= 12


@pytest.mark.parametrize("where", ["reader", "engine", "consumer", "open", "close"])
def test_an_exception_of_any_thread_comes_out_as_itself_and_ends_all_threads(where):
    class Boom(Exception):
        pass

    def boom(*_, **__):
        raise Boom(where)

    sink, good = Collect(), Collect()
    dataset, engine = Lazy(30), _engine()
    if where == "reader":
        dataset = Lazy(30, read=lambda index: boom() if index == 5 else None)
    elif where == "engine":
        engine = _engine(lambda batch: boom() if len(engine.shapes) == 5 else batch.copy())
    elif where == "consumer":
        sink.consume = lambda result: boom() if result.index == 5 else {}
    else:
        setattr(sink, where, boom)
    before = threading.active_count()
    with pytest.raises(Boom, match=where):
        run(engine, dataset, [good, sink])
    assert threading.active_count() == before
    assert good.finished is (where == "close")
    assert cv2.getNumThreads() > 0
    assert sys.getswitchinterval() == pytest.approx(0.005)


def _bad(index):
    if index in (2, 5):
        raise DatasetError(f"{index}.png is not an image")


def test_a_damaged_image_stops_the_run_after_those_before_it():
    sink = Collect()
    with pytest.raises(DatasetError, match=r"2\.png"):
        run(_engine(), Lazy(8, read=_bad), [sink])
    assert sink.names == ["0.png", "1.png"]
    assert sink.finished is False


def test_damaged_images_are_skipped_and_listed():
    sink = Collect()
    report = run(_engine(), Lazy(8, read=_bad, masks=True), [sink, ScoreSink()], on_error="skip")
    assert [item.name for item in report.skipped] == ["2.png", "5.png"]
    assert "is not an image" in report.skipped[0].reason
    assert report.images == len(sink.names) == report.scores.images == 6


def test_skipping_every_image_is_an_error():
    def bad(index):
        raise DatasetError(f"{index}.png is bad")

    with pytest.raises(DatasetError, match=r"no image is left: 3 images skipped.*0\.png is bad"):
        run(_engine(), Lazy(3, read=bad), [], on_error="skip")


def test_a_mask_of_another_size_is_named_or_skipped():
    images = [_image(index) for index in range(3)]
    masks = [_labels(image) for image in images]
    masks[1] = masks[1][:, :-1]
    dataset = ArrayDataset(images, masks, DatasetInfo("d", META.classes))
    with pytest.raises(DatasetError, match=r"0001\.png is 16x23.*16x24"):
        run(_engine(), dataset, [ScoreSink()])
    report = run(_engine(), dataset, [ScoreSink()], on_error="skip")
    assert [item.name for item in report.skipped] == ["0001.png"]


def test_a_size_that_the_engine_does_not_take_names_the_image():
    dataset = Lazy(3, lambda index: _image(index, (16, 24 + index)))
    with pytest.raises(ShapeError, match=r"1\.png is 16x25"):
        run(_engine(width=Axis(1, 24)), dataset, [])


def test_bad_arguments_are_refused():
    with pytest.raises(UsageError, match="batch size"):
        run(_engine(), Lazy(1), [], batch_size=0)
    with pytest.raises(UsageError, match="cannot be resumed"):
        run(_engine(), Lazy(1), [], resume=True)
    with pytest.raises(UsageError, match=r"stop, skip.*'skpi'"):
        run(_engine(), Lazy(1), [], on_error="skpi")


def test_two_images_of_one_name_are_refused_before_any_work():
    dataset, engine = Lazy(4), _engine()
    dataset.name = lambda index: f"{index % 3}.png"
    with pytest.raises(DatasetError, match=r"1 image more than once.*0\.png"):
        run(engine, dataset, [])
    assert not engine.shapes


@pytest.mark.parametrize(("label", "kind"), [(259, np.int64), (-1, np.int32), (3, np.uint8), (255, np.uint8)])
def test_a_label_that_is_no_class_is_a_plugin_error(label, kind):
    """259 is 3 in the eight bits that labels are kept in."""

    def function(batch):
        labels = batch.argmax(axis=1).astype(kind)
        labels[0, 5, 5] = label
        return labels

    with pytest.raises(PluginError, match=f"label {label}.*3 labels"):
        run(_engine(function, "labels"), Lazy(2), [])


def test_labels_of_inputs_that_only_fill_a_batch_are_ignored():
    def function(batch):
        labels = batch.argmax(axis=1)
        labels[1:] = 77
        return labels

    assert run(_engine(function, "labels", batch=Axis.fixed(2)), Lazy(1), []).images == 1


def test_a_run_that_is_interrupted_while_a_sink_waits_ends():
    """A sink that waits for the user learns that the run is over."""

    class Waits(Collect):
        def open(self, run):
            self.abandoned = run.abandoned

        def consume(self, result):
            waiting.set()
            assert self.abandoned.wait(30)
            return {}

    waiting = threading.Event()

    def function(batch):
        if len(engine.shapes) == 2:
            assert waiting.wait(30)
            raise KeyboardInterrupt
        return batch.copy()

    engine = _engine(function)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run(engine, Lazy(9), [Waits()])
    assert threading.active_count() == before


def test_progress_advances_once_for_each_image():
    class Counting(QuietReporter):
        steps, total = 0, None

        def progress(self, description, total):
            from contextlib import nullcontext

            self.total = total
            return nullcontext(self)

        def advance(self, steps=1):
            self.steps += steps

    reporter = Counting()
    run(_engine(), Lazy(8, read=_bad), [], on_error="skip", reporter=reporter)
    assert reporter.steps == reporter.total == 8


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependencyError, match=r"segplug\[runtime\]"):
        run(_engine(), Lazy(1), [])

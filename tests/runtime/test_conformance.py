"""The conformance suite passes good engines and fails broken ones."""

from __future__ import annotations

import numpy as np
import pytest

from segplug.engine import Axis, EngineSpec
from segplug.model import ModelMeta
from segplug.testing.engines import EngineConformance, FunctionEngine

META = ModelMeta("m", out_channels=3)


class TestLogits(EngineConformance):
    @pytest.fixture
    def engine(self):
        return FunctionEngine(EngineSpec(META, "logits", backend="test", fresh_output=True), lambda b: b * 2)


class TestBandsAtAStride(EngineConformance):
    @pytest.fixture
    def engine(self):
        meta = ModelMeta("m", in_channels=5, out_channels=5, output_stride=4, scores="probabilities")
        return FunctionEngine(EngineSpec(meta, "logits", backend="test"), lambda b: b[:, :, ::4, ::4].copy())


class TestLabelsOfFixedBatch(EngineConformance):
    @pytest.fixture
    def engine(self):
        axes = {"batch": Axis.fixed(2), "height": Axis.fixed(40), "width": Axis(32, 96, 32)}
        return FunctionEngine(EngineSpec(META, "labels", backend="test", **axes), lambda b: b.argmax(axis=1))


_CHECKS = [name for name in dir(EngineConformance) if name.startswith("test_")]


def _fresh_broken():
    buffer = {}

    def run(batch):
        kept = buffer.setdefault(batch.shape, np.empty_like(batch))
        kept[:] = batch
        return kept

    return run


def _forgetful():
    rng = np.random.default_rng()
    return lambda batch: batch + rng.random(batch.shape, dtype=np.float32)


def _writing(batch):
    batch += 1
    return batch.copy()


def test_scores_of_another_stride_are_found():
    meta = ModelMeta("m", out_channels=3, output_stride=4)
    engine = FunctionEngine(EngineSpec(meta, "logits", backend="test"), np.copy)
    with pytest.raises(AssertionError):
        EngineConformance().test_output_is_as_its_spec_says(engine)


def test_labels_that_are_no_class_are_found():
    engine = FunctionEngine(EngineSpec(META, "labels", backend="test"), lambda b: b.argmax(axis=1) + 1)
    with pytest.raises(AssertionError):
        EngineConformance().test_output_is_as_its_spec_says(engine)


@pytest.mark.parametrize(
    ("spec", "function", "check"),
    [
        ({}, lambda b: b[:, :2].copy(), "test_output_is_as_its_spec_says"),
        ({}, lambda b: b.astype(np.float64), "test_output_is_as_its_spec_says"),
        ({}, lambda b: b * np.nan, "test_output_is_as_its_spec_says"),
        ({}, _forgetful(), "test_equal_inputs_give_equal_outputs_and_stay_as_they_are"),
        ({}, _writing, "test_equal_inputs_give_equal_outputs_and_stay_as_they_are"),
        ({}, lambda b: b + b[:1], "test_an_output_depends_on_its_own_image_only"),
        ({}, lambda b: np.repeat(b[:1], len(b), axis=0), "test_an_output_depends_on_its_own_image_only"),
        ({}, np.zeros_like, "test_an_output_depends_on_its_own_image_only"),
        ({"fresh_output": True}, np.zeros_like, "test_fresh_output_is_kept"),
        ({}, lambda b: b[:, :, :64, :64].copy(), "test_follows_other_sizes_where_its_axes_vary"),
        ({"fresh_output": True}, _fresh_broken(), "test_fresh_output_is_kept"),
        ({"backend": ""}, lambda b: b, "test_has_a_consistent_spec"),
    ],
)
def test_a_broken_engine_is_found(spec, function, check):
    assert check in _CHECKS
    engine = FunctionEngine(EngineSpec(META, "logits", **{"backend": "test", **spec}), function)
    with pytest.raises(AssertionError):
        getattr(EngineConformance(), check)(engine)


def test_what_cannot_be_tested_is_skipped():
    one, size = Axis.fixed(1), Axis.fixed(64)
    spec = EngineSpec(META, "logits", backend="test", batch=one, height=size, width=size)
    skipped = [
        "test_an_output_depends_on_its_own_image_only",
        "test_follows_other_sizes_where_its_axes_vary",
        "test_fresh_output_is_kept",
    ]
    for check in skipped:
        engine = FunctionEngine(spec, np.copy)
        with pytest.raises(pytest.skip.Exception):
            getattr(EngineConformance(), check)(engine)
        assert engine.closed


@pytest.mark.parametrize(
    ("axis", "height"), [(Axis(64, 96, 32), 96), (Axis(64, 65), 65), (Axis(32, 64), 63), (Axis(), 96)]
)
def test_an_engine_is_run_at_another_size_if_it_takes_one(axis, height):
    engine = FunctionEngine(EngineSpec(META, "logits", backend="test", height=axis), np.copy)
    EngineConformance().test_follows_other_sizes_where_its_axes_vary(engine)
    assert {shape[2] for shape in engine.shapes} == {64, height}

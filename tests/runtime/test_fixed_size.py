"""An artifact of one size: who says that it is not the size of the model's preprocessing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segplug.dataset import DatasetInfo
from segplug.engine import Axis, EngineSpec
from segplug.model import Inference, ModelMeta
from segplug.preprocessing import Flip, Pad, Resize
from segplug.progress import QuietReporter
from segplug.runtime.fixed_size import fixed_size_warning, only_size
from segplug.runtime.pipeline import run
from segplug.scores import Stretched
from segplug.testing.engines import ArrayDataset, FunctionEngine
from segplug.verification.run import compare_engines

EXACT = Resize(scale=(480, 360))
INSIDE = Resize(scale=(2048, 512), fit="inside")


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ((EXACT,), (360, 480)),
        ((Resize(ratio=0.5), EXACT, Flip()), (360, 480)),
        ((EXACT, Pad(divisor=32)), (384, 480)),
        ((EXACT, Pad(size=(512, 512))), (512, 512)),
        ((), None),
        ((INSIDE,), None),
        ((Resize(scale=(512, 512), fit="shortest"),), None),
        ((Resize(ratio=2.0),), None),
        ((INSIDE, Pad(size=(512, 512))), None),
        ((Resize(scale=(512, 512), fit="inside"), Pad(size=(512, 512))), (512, 512)),
    ],
)
def test_the_only_size_that_preprocessing_gives(steps, size):
    assert only_size(steps) == size


def _warning(steps, size, **changes):
    return fixed_size_warning(ModelMeta("m", preprocessing=steps, **changes), size)


def test_the_size_of_the_pipeline_needs_no_warning():
    assert _warning((EXACT,), (360, 480)) is None


def test_another_size_is_named_with_the_pipelines_own_and_what_to_do():
    said = _warning((EXACT,), (180, 240))
    assert "preprocessing gives 360x480, and this file takes 180x240 (height x width) only" in said
    assert "--dynamic" in said


@pytest.mark.parametrize("steps", [(INSIDE,), ()])
def test_a_size_that_depends_on_the_image_is_right_for_some_images_only(steps):
    said = _warning(steps, (512, 1024))
    assert "a size that depends on the image, and this file takes 512x1024" in said
    assert "--dynamic" in said


def test_a_window_is_no_size_of_images():
    assert _warning((EXACT,), (64, 64), inference=Inference("slide", (64, 64), (32, 32))) is None


META = ModelMeta("m", classes=("a", "b", "c"), out_channels=3, preprocessing=(Resize(scale=(24, 16)),))


def _engine(meta=META, size=(8, 12)):
    height, width = map(Axis.fixed, size)
    return FunctionEngine(
        EngineSpec(meta, "logits", height=height, width=width, backend="test"), lambda batch: batch.copy()
    )


def _dataset(*sizes):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    return ArrayDataset(images, info=DatasetInfo("d", META.classes, has_masks=False, fingerprint="d"))


def test_a_run_counts_the_images_that_it_stretches_and_their_sizes():
    meta = META.replace(preprocessing=())
    reporter = QuietReporter()
    dataset = _dataset((16, 24), (9, 9), (8, 12), (16, 24))
    report = run(_engine(meta), dataset, [], reporter=reporter)
    assert report.stretched == (Stretched((16, 24), (8, 12), 2), Stretched((9, 9), (8, 12), 1))
    first, counted = report.warnings
    assert "and all others of another size are stretched" in first
    assert "--dynamic" in first
    said = "3 of 4 images stretched to 8x12 (height x width), in place of 16x24 (2), 9x9 (1)"
    assert counted == said
    found = json.loads(json.dumps(report.to_dict()))
    assert found["stretched"][0] == {"size": [16, 24], "to": [8, 12], "images": 2}
    assert found["warnings"] == reporter.warnings


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_size_after_preprocessing_is_what_counts(batch_size):
    report = run(_engine(), _dataset((100, 100), (50, 60)), [], batch_size=batch_size)
    assert report.stretched == (Stretched((16, 24), (8, 12), 2),)
    assert run(_engine(size=(16, 24)), _dataset((100, 100)), []).stretched == ()


def test_windows_are_not_stretching():
    meta = META.replace(inference=Inference("slide", (8, 12), (4, 6)))
    report = run(_engine(meta), _dataset((100, 100)), [])
    assert report.stretched == ()
    assert report.warnings == ()


def _compared(meta, size):
    free = FunctionEngine(EngineSpec(meta, "logits", backend="reference"), lambda batch: batch.copy())
    return compare_engines(
        free, _engine(meta, size), [], precision="fp32", thresholds=None, named="x", reporter=QuietReporter()
    )


def test_a_verification_says_what_was_not_compared():
    views = META.replace(tta=((), (Flip(),)))
    found = _compared(views, (8, 12))
    assert found.passed
    both, size, augmented = found.to_dict()["not_compared"]
    assert both.startswith("preprocessing, and scores on a data set")
    assert size == "what stretching images to 8x12 (height x width) changes"
    assert augmented == "the model's test-time augmentation (2 views)"
    assert len(_compared(META, (16, 24)).not_compared) == 1

"""Labels from logits as torch and mmseg decide them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segplug.model import ModelMeta
from segplug.progress import QuietReporter
from segplug.runtime.postprocess import Postprocessor, argmax, logits_to_labels, resize_plane
from segplug.runtime.preprocess import Geometry

SIZES = [
    ((45, 60), (90, 120)),
    ((45, 60), (361, 483)),
    ((90, 120), (45, 60)),
    ((90, 121), (37, 23)),
    ((64, 64), (1, 1)),
    ((1, 7), (5, 5)),
    ((90, 120), (30, 240)),
]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_a_plane_is_resized_as_torch_does(old, new, align_corners):
    plane = np.random.default_rng(0).standard_normal(old).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(plane)[None, None], size=new, mode="bilinear", align_corners=align_corners
    )[0, 0].numpy()
    resized = resize_plane(plane, new, align_corners=align_corners)
    # positions are rounded to float32: an error of 1e-7 of the size, times the slope between pixels
    assert np.abs(resized - expected).max() <= 1e-6 * max(*old, *new)


@pytest.mark.parametrize("shape", [(1, 5, 5), (2, 300, 301), (19, 64, 80), (300, 20, 20)])
def test_argmax_is_numpys_with_ties_for_the_first(shape):
    planes = np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)
    labels = argmax(planes)
    assert np.array_equal(labels, planes.argmax(axis=0))
    assert labels.dtype == (np.uint16 if shape[0] > 256 else np.uint8)
    cut = planes[:, : shape[1] - 1, : shape[2] - 2]
    assert np.array_equal(argmax(cut), cut.argmax(axis=0))


@pytest.mark.parametrize("align_corners", [False, True])
def test_padding_is_cut_before_the_resize_as_in_mmseg(align_corners):
    logits = np.random.default_rng(0).standard_normal((5, 64, 96)).astype(np.float32)
    meta = ModelMeta("m", out_channels=5, align_corners=align_corners)
    labels = logits_to_labels(logits, meta, Geometry(original=(100, 140), valid=(50, 70)))
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, :, :50, :70],
        size=(100, 140),
        mode="bilinear",
        align_corners=align_corners,
    )
    best = resized[0].topk(2, dim=0).values
    firm = (best[0] - best[1] > 1e-4).numpy()
    assert firm.mean() > 0.99
    assert np.array_equal(labels[firm], resized[0].argmax(0).numpy()[firm])


@pytest.mark.parametrize("threshold", [-0.5, 0.0, 0.1, 0.3, 0.5, 0.9, 1.0, 2.0])
def test_a_single_channel_is_thresholded_as_its_sigmoid(threshold):
    logits = np.linspace(-8, 8, 1001, dtype=np.float32).reshape(1, 7, 143)
    meta = ModelMeta("m", out_channels=1, activation="sigmoid", threshold=threshold)
    labels = logits_to_labels(logits, meta, Geometry((7, 143), (7, 143)))
    expected = torch.from_numpy(logits).sigmoid()[0].double() > threshold
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, expected.numpy().astype(np.uint8))


def test_labels_are_resized_by_nearest_neighbour_with_one_warning():
    reporter = QuietReporter()
    postprocess = Postprocessor(ModelMeta("m", out_channels=3), reporter)
    labels = np.array([[0, 1, 9], [2, 3, 9], [9, 9, 9]], np.uint8)
    assert np.array_equal(
        postprocess(labels, Geometry((4, 4), (2, 2))), np.kron(labels[:2, :2], np.ones((2, 2), np.uint8))
    )
    postprocess(labels, Geometry((5, 5), (2, 2)))
    assert len(reporter.warnings) == 1
    assert "logits" in reporter.warnings[0]


def test_labels_of_the_right_size_are_only_cut():
    reporter = QuietReporter()
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cut = Postprocessor(ModelMeta("m"), reporter)(labels, Geometry((2, 3), (2, 3)))
    assert np.array_equal(cut, labels[:2, :3])
    assert not reporter.warnings

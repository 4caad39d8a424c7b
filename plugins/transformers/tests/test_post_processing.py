"""Scores of one size, and those that shrink with antialiasing, become the label maps of transformers."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil
from transformers_support.torchvision import functions

from segplug.model import ModelMeta
from segplug.runtime.postprocess import NetworkOutput, Postprocessor, scores_at_image_size
from segplug.runtime.sizes import Geometry

SIZES = ((97, 131), (40, 200), (33, 30), (100, 140), (480, 640))


def _outputs(seed: int) -> SimpleNamespace:
    draw = torch.Generator().manual_seed(seed)
    return SimpleNamespace(
        class_queries_logits=torch.randn(1, 10, 6, generator=draw),
        masks_queries_logits=4 * torch.randn(1, 10, 64, 96, generator=draw),
    )


def _scores(outputs: SimpleNamespace, masks: torch.Tensor) -> np.ndarray:
    classes = outputs.class_queries_logits.softmax(-1)[..., :-1]
    return torch.einsum("bqc,bqhw->bchw", classes, masks.sigmoid())[0].numpy()


def _assert_equal(scores: np.ndarray, meta: ModelMeta, expected: SimpleNamespace, tolerance: float) -> None:
    wanted = expected.segmentation_scores.numpy()
    output = NetworkOutput(scores, Geometry(wanted.shape[1:], (256, 384), (256, 384)), logits=False)
    found = scores_at_image_size(output, meta)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)
    labels = Postprocessor(meta)(output).labels
    first, second = np.sort(wanted, axis=0)[[-1, -2]]
    clear = first - second > 2 * tolerance
    assert clear.mean() > 0.99
    assert np.array_equal(labels[clear], expected.segmentation.numpy()[clear])


@pytest.mark.parametrize("size", SIZES)
def test_mask2former(size: tuple[int, int]) -> None:
    """Its masks are brought to 384x384 before the sigmoid."""
    outputs = _outputs(0)
    (expected,) = Mask2FormerImageProcessorPil().post_process_semantic_segmentation(
        outputs, [size], return_segmentation_scores=True
    )
    masks = torch.nn.functional.interpolate(outputs.masks_queries_logits, (384, 384), mode="bilinear")
    meta = ModelMeta("m", out_channels=5, output_size=(384, 384), scores="probabilities")
    _assert_equal(_scores(outputs, masks), meta, expected, 2e-5)


@pytest.mark.parametrize("size", SIZES)
def test_oneformer_with_torchvision(size: tuple[int, int]) -> None:
    functions()  # without torchvision its processor cannot be imported
    oneformer = importlib.import_module("transformers.models.oneformer.image_processing_oneformer")
    outputs = _outputs(1)
    (expected,) = oneformer.OneFormerImageProcessor.post_process_semantic_segmentation(
        None, outputs, [size], return_segmentation_scores=True
    )
    scores = _scores(outputs, outputs.masks_queries_logits)
    meta = ModelMeta("m", out_channels=5, output_stride=4, output_antialias=True, scores="probabilities")
    _assert_equal(scores, meta, expected, 1e-6)
    if size[0] < 64:
        with pytest.raises(AssertionError):
            _assert_equal(scores, meta.replace(output_antialias=False), expected, 1e-6)

"""Windows that lie evenly are those of EoMT's processor, and averaged as it does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.image_utils import SizeDict
from transformers.models.eomt.image_processing_pil_eomt import EomtImageProcessorPil

from segplug.engine import Axis, EngineSpec
from segplug.model import Inference, ModelMeta
from segplug.runtime.runner import Runner
from segplug.runtime.slide import Slider, windows
from segplug.testing import FunctionEngine

PROCESSOR = EomtImageProcessorPil()


def _split(array: np.ndarray, edge: int) -> tuple[list[np.ndarray], list[list[int]]]:
    patches, offsets = PROCESSOR._split_image(array, SizeDict(shortest_edge=edge, longest_edge=None), 0)
    return patches, offsets


def _longer_edges(edge: int) -> list[int]:
    return sorted({*range(edge, 6 * edge, max(edge // 40, 1)), edge + 1, 2 * edge, 2 * edge + 1, 3 * edge})


@pytest.mark.parametrize("edge", [16, 53, 64, 224, 512, 640, 1024, 1280])
def test_they_lie_where_eomt_cuts(edge):
    for length in _longer_edges(edge):
        line = np.arange(length, dtype=np.float32)
        for axis, size in ((1, (length, edge)), (2, (edge, length))):
            array = np.broadcast_to(line.reshape((-1, 1) if axis == 1 else (1, -1)), (1, *size))
            patches, offsets = _split(array, edge)
            places = windows(size, (edge, edge), None)
            cut = [array[:, place.top : place.bottom, place.left : place.right] for place in places]
            assert len(places) == len(patches)
            assert all(np.array_equal(one, other) for one, other in zip(cut, patches, strict=True))
            along = [
                (place.top, place.bottom) if axis == 1 else (place.left, place.right) for place in places
            ]
            assert along == [(start, end) for _, start, end in offsets]


def _scores(batch: np.ndarray) -> np.ndarray:
    """Scores of three classes that depend on the place in the window."""
    ramp = np.linspace(0, 1, batch.shape[3], dtype=np.float32)
    return np.stack([batch[:, 0] * ramp, batch[:, 1] * (1 - ramp), batch[:, 2]], axis=1)


@pytest.mark.parametrize("size", [(32, 32), (32, 75), (90, 32), (32, 64), (65, 32), (32, 129)])
@pytest.mark.parametrize("batch", [Axis(), Axis.fixed(1), Axis.fixed(4)])
def test_their_scores_are_averaged_as_eomt_does(size, batch):
    array = np.random.default_rng(0).random((3, *size), np.float32)
    patches, offsets = _split(array, 32)
    scores = torch.from_numpy(_scores(np.stack(patches)))
    (expected,) = PROCESSOR.merge_image_patches(
        scores, offsets, [size], {"shortest_edge": 32, "longest_edge": None}
    )
    inference = Inference("slide", (32, 32), placement="even")
    meta = ModelMeta("m", out_channels=3, scores="probabilities", inference=inference)
    spec = EngineSpec(meta, "logits", batch, Axis.fixed(32), Axis.fixed(32), backend="test")
    found = Slider(Runner(FunctionEngine(spec, _scores)))(array)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-6)


def test_a_line_in_no_window_scores_nothing_as_in_eomt():
    """Rounding brings the last of four windows of 53 on 162 pixels to 108: the last line is in none."""
    array = np.random.default_rng(0).random((3, 53, 162), np.float32) + 1
    patches, offsets = _split(array, 53)
    assert offsets[-1] == [0, 108, 161]
    scores = torch.from_numpy(_scores(np.stack(patches)))
    (expected,) = PROCESSOR.merge_image_patches(
        scores, offsets, [(53, 162)], {"shortest_edge": 53, "longest_edge": None}
    )
    meta = ModelMeta("m", out_channels=3, inference=Inference("slide", (53, 53), placement="even"))
    found = Slider(Runner(FunctionEngine(EngineSpec(meta, "logits", backend="test"), _scores)))(array)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-6)
    assert (found[..., -1] == 0).all()
    assert (found[2, ..., :-1] > 0).all()

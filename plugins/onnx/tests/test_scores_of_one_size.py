"""Networks whose scores have one size whatever the input's is."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from segplug_onnx.engine import provider
from segplug_onnx.foreign import Options
from torch import nn

from segplug.errors import ShapeError
from segplug.model import SegmentationModel
from segplug.requests import InferRequest
from segplug.testing import EngineConformance, make_request

SIZE = (40, 56)


class OneSize(nn.Module):
    """Gives probabilities of 40x56."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(nn.functional.interpolate(self.stem(images) * 2, SIZE, mode="bilinear"))


@pytest.fixture(scope="module")
def model(model_of):
    return model_of(OneSize(), preprocessing=(), scores="probabilities", output_size=SIZE)


def _open(artifact, **request):
    given = {"artifact": artifact.path, "threads": 1, "options": Options(), **request}
    return provider.infer(make_request(InferRequest, **given))


def _at_input_size(model, scores: np.ndarray, batch: np.ndarray) -> np.ndarray:
    size, antialias = batch.shape[2:], model.meta.output_antialias
    resize = nn.functional.interpolate
    return resize(torch.from_numpy(scores), size, mode="bilinear", antialias=antialias).numpy()


def _output(artifact) -> list[object]:
    (output,) = onnx.load(artifact.path).graph.output
    return [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]


class TestEngine(EngineConformance):
    @pytest.fixture
    def engine(self, export, model):
        return _open(export(model, dynamic=True, output_kind="logits"))


@pytest.mark.parametrize("dynamic", [False, True])
def test_scores_are_given_as_they_are(export, model, images, logits_of, dynamic):
    artifact = export(model, dynamic=dynamic, output_kind="logits", verify=True)
    assert artifact.meta.verification["passed"]
    assert artifact.meta.verification["logits_compared"]
    assert artifact.meta.output_size == SIZE
    assert _output(artifact) == ["batch" if dynamic else 1, 4, *SIZE]
    for size in ((1, 32, 48), (2, 45, 33)) if dynamic else ((1, 32, 48),):
        batch = images(*size)
        np.testing.assert_allclose(_open(artifact).run(batch), logits_of(model, batch), atol=1e-5)


@pytest.mark.parametrize("antialias", [False, True])
def test_labels_are_computed_from_scores_at_the_inputs_size(export, model, images, logits_of, antialias):
    meta = model.meta.replace(output_antialias=antialias)
    model = SegmentationModel(model.module, meta, model.exportable)
    artifact = export(model, dynamic=True, output_kind="labels", verify=True)
    assert artifact.meta.verification["passed"]
    assert artifact.meta.verification["logits_compared"], "those that the labels are made of"
    for size in ((1, 32, 48), (2, 21, 70)):
        batch = images(*size)
        expected = _at_input_size(model, logits_of(model, batch), batch)
        assert (_open(artifact).run(batch) != expected.argmax(1)).mean() < 1e-3
        np.testing.assert_allclose(_open(artifact, want_logits=True).run(batch), expected, atol=1e-5)


def test_scores_of_another_size_than_the_metadata_says(export, model):
    meta = model.meta.replace(output_size=(40, 57))
    artifact = export(SegmentationModel(model.module, meta, model.exportable), output_kind="logits")
    with pytest.raises(ShapeError, match=r"its output output has shape \(1, 4, 40, 56\)"):
        _open(artifact).run(np.zeros((1, 3, 32, 48), np.float32))

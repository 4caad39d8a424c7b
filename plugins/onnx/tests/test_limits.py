"""A file with free sizes accepts the sizes that its network accepts, and refuses all others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from segplug_onnx.engine import provider as backend
from segplug_onnx.foreign import Options
from torch import nn
from torch.nn import functional as F

from segplug.engine import Axis
from segplug.errors import ShapeError
from segplug.model import InputLimits
from segplug.progress import QuietReporter
from segplug.requests import InferRequest
from segplug.testing import make_request


def open_logits(artifact):
    return backend.infer(
        make_request(InferRequest, artifact=artifact.path, want_logits=True, options=Options())
    )


class Halving(nn.Module):
    """Halves a map twice, doubles it twice and adds it: that works for multiples of 4 only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        assert height % 4 == width % 4 == 0, "sizes must be multiples of 4"
        small = F.max_pool2d(F.max_pool2d(x, 2), 2)
        size = (small.shape[2] * 4, small.shape[3] * 4)
        return x + F.interpolate(small, size=size, mode="bilinear", align_corners=False)


class Table(nn.Module):
    """Adds a position embedding of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 3, 24, 32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table


class Pooling(nn.Module):
    """Pools with a kernel that is larger than small maps."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = F.avg_pool2d(x, 20, stride=20)
        return x + pooled.mean(dim=(2, 3), keepdim=True)


@pytest.fixture
def limited_model(model_of):
    def make(network: nn.Module, limits: InputLimits | None, size: tuple[int, int]):
        model = model_of(network, out_channels=3, classes=("a", "b", "c"), input_size=size)
        return dataclasses.replace(model, input_limits=lambda: limits)

    return make


def test_multiples(limited_model, export, images, logits_of):
    model = limited_model(Halving(), InputLimits((4, 4), multiple_of=4), (32, 48))
    artifact = export(model, dynamic=True)
    assert artifact.meta.input_limits == InputLimits((4, 4), multiple_of=4)
    engine = open_logits(artifact)
    assert engine.spec.height == engine.spec.width == Axis(4, None, 4)
    for shape in [(1, 32, 48), (2, 36, 44), (1, 4, 500)]:
        batch = images(*shape)
        np.testing.assert_allclose(engine.run(batch), logits_of(model, batch), rtol=1e-5, atol=1e-5)


def test_with_one_size_only_the_batch_is_free_and_a_warning_says_so(limited_model, export, images, logits_of):
    model = limited_model(Table(), InputLimits((24, 32), maximum=(24, 32)), (24, 32))
    reporter = QuietReporter()
    artifact = export(model, dynamic=True, reporter=reporter)
    assert any("24x32 only" in text for text in reporter.warnings)
    engine = open_logits(artifact)
    assert (engine.spec.height, engine.spec.width) == (Axis.fixed(24), Axis.fixed(32))
    assert not engine.spec.batch.is_fixed
    batch = images(3, 24, 32)
    np.testing.assert_allclose(engine.run(batch), logits_of(model, batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("limits", "size", "words"),
    [
        (InputLimits((20, 20)), (16, 48), "it takes 20x20 and larger"),
        (InputLimits((4, 4), multiple_of=4), (32, 46), "it takes 4x4 and larger, multiples of 4"),
        (InputLimits((24, 32), maximum=(24, 32)), (24, 40), "it takes 24x32 only"),
    ],
)
def test_a_size_that_the_network_does_not_take(limited_model, export, tmp_path, limits, size, words):
    with pytest.raises(ShapeError, match=f"cannot take {size[0]}x{size[1]} images") as refused:
        export(limited_model(Pooling(), limits, size), tmp_path / "m.onnx", dynamic=True)
    assert words in str(refused.value.hint)
    assert not list(tmp_path.iterdir())


def test_a_fixed_size_that_the_network_does_not_take(limited_model, export, tmp_path):
    model = limited_model(Pooling(), InputLimits((20, 20)), (16, 48))
    with pytest.raises(ShapeError, match=r"cannot take 16x48 images: .*too small") as refused:
        export(model, tmp_path / "m.onnx")
    assert "20x20 and larger" in str(refused.value.hint)
    assert not list(tmp_path.iterdir())


def test_the_smallest_size_is_in_the_file(limited_model, export):
    artifact = export(limited_model(Pooling(), InputLimits((20, 20)), (40, 64)), dynamic=True)
    engine = open_logits(artifact)
    assert (engine.spec.height, engine.spec.width) == (Axis(20), Axis(20))


def test_a_static_file_has_one_size(limited_model, export):
    artifact = export(limited_model(Pooling(), InputLimits((20, 20)), (40, 64)))
    assert artifact.meta.input_limits is None

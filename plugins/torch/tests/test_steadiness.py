"""Networks whose scores of an image depend on more than the image, or that change their input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from segplug_torch.engine import TorchEngine
from segplug_torch.undescribed.scores import find_scores
from segplug_torch.undescribed.steadiness import require_steady
from torch import nn
from torch_support.networks import make_model

from segplug.errors import ModelError, ShapeError


class Called(nn.Module):
    """A convolution, and what a function makes of its scores."""

    def __init__(self, change: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(3, 4, 3, padding=1)
        self.register_buffer("calls", torch.zeros(()))
        self.change = change

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.change(self.head(images), self.calls)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda scores, calls: F.dropout(scores, 0.1, training=True), "each time"),
        (lambda scores, calls: scores + torch.rand(1, 4, 1, 1), "each time"),
        (lambda scores, calls: scores * calls, "each time"),
        (lambda scores, calls: F.batch_norm(scores, None, None, training=True), "other images of the batch"),
        (lambda scores, calls: scores - scores.min(), "other images of the batch"),
    ],
)
def test_scores_that_depend_on_more_than_the_image_are_refused(
    change: Callable[..., torch.Tensor], match: str
) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        find_scores(Called(change).eval(), 3, None, "logits")
    assert caught.value.hint == "save it after net.eval()"


@pytest.mark.parametrize(
    "change",
    [
        lambda scores, calls: F.dropout(scores, 0.1, training=False),
        lambda scores, calls: F.instance_norm(scores),
        lambda scores, calls: scores[:1],  # a trace of one image
        lambda scores, calls: scores.view(1, 4, 64, 64),  # takes one image
        lambda scores, calls: scores * 0 + 5,
    ],
)
def test_other_networks_are_steady(change: Callable[..., torch.Tensor]) -> None:
    require_steady(Called(change).eval(), 3, (64, 64))


def _engine(function: Callable[[torch.Tensor], torch.Tensor]) -> TorchEngine:
    return TorchEngine(function, make_model().meta, device=torch.device("cpu"), backend="test")


def test_an_engine_leaves_the_batch_as_it_was() -> None:
    network = make_model().module
    batch = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    before = batch.copy()
    engine = _engine(lambda images: network(images.mul_(2)))
    first = engine.run(batch)
    assert np.array_equal(batch, before)
    assert np.array_equal(engine.run(batch), first)


def test_an_engine_refuses_scores_of_fewer_images() -> None:
    network = make_model().module
    with pytest.raises(ShapeError, match=r"input of 2x3x32x32: its scores are 1x"):
        _engine(lambda images: network(images[:1])).run(np.zeros((2, 3, 32, 32), np.float32))


class Demanding(nn.Module):
    """Raises in TorchScript, which is no RuntimeError there."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[2] % 32 == 0, "multiples of 32"
        return images


def test_what_a_script_raises_is_a_refusal() -> None:
    script = torch.jit.script(Demanding())
    assert find_scores(script, 3, None, "logits").stride == 1
    with pytest.raises(ShapeError, match=r"input of 1x3x33x32: .*multiples of 32"):
        _engine(script).run(np.zeros((1, 3, 33, 32), np.float32))

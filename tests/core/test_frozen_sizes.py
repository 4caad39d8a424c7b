"""Programs of torch.export in which a size became a number are refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segplug.errors import ModelError
from segplug.frozen_sizes import refuse_frozen_sizes
from segplug.quiet import quiet

FREE = ({0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)


class Resized(nn.Module):
    def __init__(self, height):
        super().__init__()
        self.height = height

    def forward(self, images):
        return F.interpolate(images, [self.height(images.shape[2]), images.shape[3]])


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, images):
        return F.interpolate(images, scale_factor=self.factor)


class Centres(nn.Module):
    """The length of a range of floats, as embeddings of positions have it."""

    def forward(self, images):
        return images + torch.arange(0.5, images.shape[3])


class Padded(nn.Module):
    """Conditions between sizes are no frozen ones."""

    def forward(self, images):
        halved = F.max_pool2d(images, 2, ceil_mode=True)
        return F.interpolate(halved, images.shape[2:]) + images


def _program(network, free=FREE, *, deferred=False):
    with quiet(), torch.no_grad():
        return torch.export.export(
            network,
            (torch.zeros(2, 3, 64, 96),),
            dynamic_shapes=free,
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=deferred,
        )


@pytest.mark.parametrize("deferred", [False, True])  # as torch.export does, as torch.onnx.export does
@pytest.mark.parametrize(
    "height",
    [lambda size: int(0.75 * size), lambda size: int(size**0.5)],
    ids=["factor", "power"],
)
def test_a_formula_that_became_a_number_is_refused(height, deferred):
    program = _program(Resized(height), deferred=deferred)
    with pytest.raises(ModelError, match="as the number that the traced size gives") as caught:
        refuse_frozen_sizes(program)
    assert "without --dynamic" in caught.value.hint
    refuse_frozen_sizes(_program(Resized(height), None))  # at one size it is right


@pytest.mark.parametrize("factor", [0.7, 0.35])
def test_a_factor_that_float32_rounds_is_refused(factor):
    with pytest.raises(ModelError, match="with rounded numbers"):
        refuse_frozen_sizes(_program(Scaled(factor)))


@pytest.mark.parametrize(
    "network",
    [
        Scaled(0.5),
        Scaled(1 / 3),
        Scaled(2.0),
        Resized(lambda size: size * 3 // 4),
        Resized(lambda size: math.ceil(size / 2)),
        Resized(lambda size: math.ceil(size / 3)),
        Centres(),
        Padded(),
    ],
)
def test_exact_sizes_pass(network):
    refuse_frozen_sizes(_program(network))

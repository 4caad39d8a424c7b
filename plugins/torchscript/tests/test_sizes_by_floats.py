"""Scripted files whose code computes sizes with floats: exact, or refused by name, with free sizes."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from segplug_torchscript.graphs.network import GraphNetwork
from torch import nn
from torch.nn import functional as F

from segplug.errors import ModelError
from segplug.quiet import quiet

FREE = ({0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},)
SIZES = ((90, 121), (180, 63), (33, 40))
"""(height, width); float32 rounds 0.7 times the first two heights to another whole number."""


class Pooled(nn.Module):
    """The means of an image at a size that subclasses compute."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.interpolate(images, self.size(images.shape[2], images.shape[3]))

    def size(self, height: int, width: int) -> list[int]:
        raise NotImplementedError


class Half(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        return [int(height / 2), int(0.5 * width)]


class ThreeQuarters(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        return [int(height * 0.75), int(0.25 * width) + 1]


class Ceiling(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        return [math.ceil(height * 0.5), math.floor(float(width) / 4.0)]


class Guarded(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        if height * 0.5 < 2.0:
            raise ValueError("too small")
        return [height // 2, width // 2]


class Scaled(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.interpolate(images, scale_factor=0.5, recompute_scale_factor=True)


class Seven(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        return [int(height * 0.7), width]


class Rounded(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        return [int(round(height * 0.5)), width]  # noqa: RUF046  (TorchScript's round gives a float)


class Root(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        return [int(math.sqrt(float(height))), width]


class Power(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        return [int(height**0.5), width]


class Rest(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        return [int(float(height) % 7.0) + 1, width]


class Larger(Pooled):
    def size(self, height: int, width: int) -> list[int]:
        if height * 0.5 > 20.0:
            return [height // 4, width]
        return [height // 2, width]


def _exported(network: nn.Module) -> Any:
    graph = GraphNetwork(torch.jit.script(network.eval()))
    with quiet(), torch.no_grad():
        return torch.export.export(graph, (torch.zeros(2, 3, 64, 96),), dynamic_shapes=FREE, strict=False)


@pytest.mark.parametrize("network", [Half(), ThreeQuarters(), Ceiling(), Guarded(), Scaled()])
def test_exact_fractions_are_followed(network):
    program = _exported(network).module()
    for size in SIZES:
        images = torch.rand(1, 3, *size)
        assert torch.equal(program(images), network(images))


@pytest.mark.parametrize(
    ("network", "what"),
    [
        (Seven(), "a factor that float32 rounds"),
        (Rounded(), "the operator aten::round"),
        (Root(), "a square root"),
        (Power(), "the operator pow"),
        (Rest(), "the operator remainder"),
        (Larger(), "decides by the size of the image"),
    ],
)
def test_what_would_be_rounded_is_refused_by_name(network, what):
    with pytest.raises(ModelError, match=what) as caught:
        _exported(network)
    assert "export without --dynamic" in caught.value.hint


@pytest.mark.parametrize("network", [Half(), Seven(), Rounded(), Root(), Power(), Rest(), Larger()])
def test_one_size_is_computed_as_the_file_does(network):
    graph = GraphNetwork(torch.jit.script(network.eval()))
    for size in SIZES:
        images = torch.rand(1, 3, *size)
        assert torch.equal(graph(images), network(images))


def test_no_exporter_goes_round_a_refusal():
    """torch.onnx.export tries Dynamo after torch.export's own way, which takes symbols for numbers."""
    graph = GraphNetwork(torch.jit.script(Seven().eval()))
    with quiet(), pytest.raises(Exception, match=r"torch\.export alone"):
        torch.export.export(graph, (torch.zeros(2, 3, 64, 96),), dynamic_shapes=FREE, strict=True)

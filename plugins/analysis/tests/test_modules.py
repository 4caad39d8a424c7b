"""The modules of a network, seen in a pass that computes nothing."""

from __future__ import annotations

import pytest
import torch
from segplug_analysis.modules import trace_modules
from torch import nn

from segplug.errors import ShapeError


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.conv = nn.Conv2d(4, 2, 1)

    def forward(self, features):
        return self.conv(features[-1] * self.scale[:, None, None])


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 4, 2, stride=2), nn.Conv2d(4, 4, 2, stride=2, bias=False)])

    def forward(self, image):
        first = self.stages[0](image)
        return [first, self.stages[1](first)]


class Segmentor(nn.Module):
    """As frameworks have them: called by another method, its head's forward called directly."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head, self.auxiliary = Backbone(), Head(), Head()

    def encode_decode(self, image):
        return self.head.forward(self.backbone(image))


class Wrapper(nn.Module):
    def __init__(self):
        super().__init__()
        self.segmentor = Segmentor()

    def forward(self, image):
        return self.segmentor.encode_decode(image)


@pytest.fixture
def records():
    return {record.path: record for record in trace_modules(Wrapper().eval(), 3, (8, 12))}


def test_every_module_is_listed_before_those_that_it_holds(records):
    assert list(records)[:5] == ["", "backbone", "backbone.stages", "backbone.stages.0", "backbone.stages.1"]
    assert [records[path].depth for path in ("", "head", "backbone.stages.0")] == [0, 1, 3]
    assert records["backbone.stages.0"].name == "0"


def test_shapes_are_those_of_every_tensor_that_a_module_gives(records):
    assert records["backbone"].outputs == ((1, 4, 4, 6), (1, 4, 2, 3))
    assert records["head"].outputs == ((1, 2, 2, 3),)  # though only its forward is called
    assert records[""].outputs == ((1, 2, 2, 3),)
    assert records[""].kind == "Segmentor"


def test_what_is_never_called_has_no_shape(records):
    for path in ("auxiliary", "auxiliary.conv", "backbone.stages"):
        assert (records[path].outputs, records[path].calls) == ((), 0)


def test_parameters_are_counted_by_themselves_and_with_all_below(records):
    head = records["head"]
    assert (head.own_parameters, head.parameters) == (4, 4 + 10)
    assert records[""].parameters == (52 + 64) + 14 + 14


def test_a_shared_module_is_one_module():
    layer = nn.Conv2d(3, 3, 1)
    network = nn.Sequential(layer, nn.ReLU(), layer)
    found = {record.path: record for record in trace_modules(network.eval(), 3, (4, 4))}
    assert list(found) == ["", "0", "1"]
    assert (found["0"].calls, found[""].parameters) == (2, 12)


def test_the_network_is_left_as_it_was():
    network = Wrapper().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = torch.ones(1, 3, 8, 12)
    answer = network(image)
    trace_modules(network, 3, (64, 64))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(network(image), answer)
    assert not any("forward" in module.__dict__ for module in network.modules())


def test_an_own_forward_of_an_instance_is_kept():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).eval()
    own = network[1].forward = lambda image: image[:, :1]
    records = trace_modules(network, 3, (4, 4))
    assert records[-1].outputs == ((1, 1, 4, 4),)
    assert network[1].forward is own


def test_nothing_is_computed():
    network = nn.Sequential(nn.Conv2d(3, 4096, 1), nn.Conv2d(4096, 4096, 1)).eval()  # 16 TB if it were
    records = trace_modules(network, 3, (32768, 32768))
    assert records[-1].outputs == ((1, 4096, 32768, 32768),)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_images_of_any_channels(channels):
    network = nn.Sequential(nn.Conv2d(channels, 2, 1), nn.ReLU()).eval()
    records = trace_modules(network, channels, (4, 6))
    assert records[-1].outputs == ((1, 2, 4, 6),)
    assert records[0].parameters == 2 * channels + 2


def test_a_shape_that_the_network_cannot_take():
    with pytest.raises(ShapeError, match="cannot take an input of 2x12 pixels"):
        trace_modules(Wrapper().eval(), 3, (2, 12))

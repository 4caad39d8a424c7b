"""``output_key``: the scores of a network that returns a dict, a tuple or an object."""

from __future__ import annotations

import sys
import textwrap
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from segplug_torch.undescribed.outputs import named_outputs, select_output
from torch import nn

from segplug import Segplug
from segplug.errors import ModelError

NETS = """
    from collections import OrderedDict, namedtuple
    from dataclasses import dataclass
    from types import SimpleNamespace

    import torch
    from torch import nn

    Pair = namedtuple("Pair", "scores aux")


    @dataclass
    class Output:
        logits: torch.Tensor
        hidden: torch.Tensor | None = None


    class Net(nn.Module):
        '''Gives logits at a quarter of the size, rounded up, among other outputs.'''

        def __init__(self, kind: str, classes: int = 3, channels: int = 3):
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(),
            )
            self.head, self.aux = nn.Conv2d(8, classes, 1), nn.Conv2d(8, classes, 1)
            self.kind = kind

        def forward(self, images):
            features = self.body(images)
            out, aux = self.head(features), self.aux(features)
            return {
                "dict": {"out": out, "aux": aux},
                "ordered": OrderedDict(aux=aux, out=out),
                "numbered": {0: out, 1: aux},
                "alone": {"out": out},
                "tuple": (aux, out),
                "list": [out, [aux]],
                "named": Pair(out, aux),
                "fields": Output(out),
                "object": SimpleNamespace(logits=out, name="x"),
                "labels": {"labels": out.argmax(1)},
            }[self.kind]
"""

KEYS = [
    ("dict", "out"), ("ordered", "out"), ("numbered", "0"), ("alone", "out"), ("tuple", "1"), ("list", "0"),
    ("named", "scores"), ("named", "0"), ("fields", "logits"), ("object", "logits"),
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with the module ``several`` in it."""
    (tmp_path / "several.py").write_text(textwrap.dedent(NETS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    yield tmp_path
    sys.modules.pop("several", None)


def load(kind: str, key: str | None = None, **given: Any):
    given["cfg_options"] = {"kind": kind, **given.get("cfg_options", {})}
    return Segplug().load_model("python:several:Net", output_key=key, classes="3", **given)


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_the_output_that_is_named_is_the_models(here, kind, key):
    model = load(kind, key)
    assert (model.meta.output_stride, model.meta.out_channels) == (4, 3)
    network, images = model.module.network, torch.randn(2, 3, 33, 50)
    expected = network.head(network.body(images))
    assert torch.equal(model.module(images), expected)
    assert torch.equal(model.exportable()(images), expected)
    assert expected.shape == (2, 3, 9, 13)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "key"), [("dict", "out"), ("tuple", "1"), ("named", "scores")])
def test_a_file_of_any_size_gives_the_networks_own_labels(here, kind, key):
    pytest.importorskip("segplug_onnx")
    sp, model = Segplug(), load(kind, key, in_channels=4, cfg_options={"channels": 4})
    artifact = sp.export("onnx", model, output="net.onnx", dynamic=True, output_kind="logits", verify=True)
    assert artifact.meta.verification["passed"]
    network = model.module.network
    with sp.open("net.onnx") as engine:
        for shape in ((1, 4, 37, 53), (2, 4, 64, 41)):
            images = torch.randn(shape, generator=torch.Generator().manual_seed(shape[2]))
            scores = named_outputs(network(images))[key]
            answer = torch.from_numpy(engine.run(images.numpy()))
            assert answer.shape == scores.shape
            assert torch.equal(answer.argmax(1), scores.argmax(1))


def test_weights_are_those_of_the_network_itself(here):
    weights = load("dict", "out").module.network.state_dict()
    torch.save({name: value + 1 for name, value in weights.items()}, "w.pth")
    again = load("dict", "out", checkpoint="w.pth").module.network.state_dict()
    assert all(torch.equal(again[name], value + 1) for name, value in weights.items())


def test_a_network_with_one_output_stays_as_it_is():
    network = nn.Identity()
    assert select_output(network, None) is network


def test_what_loads_it_again_names_the_output(here):
    assert load("tuple", "1").load_arguments.options == {"classes": "3", "output_key": "1"}


@pytest.mark.parametrize(
    ("kind", "listed"),
    [
        ("dict", "such as --output-key out: out (1x3x16x16), aux (1x3x16x16)"),
        ("alone", "such as --output-key out: out (1x3x16x16)"),
        ("tuple", "such as --output-key 0: 0 (1x3x16x16), 1 (1x3x16x16)"),
        ("list", "such as --output-key 0: 0 (1x3x16x16)"),
        ("fields", "such as --output-key logits: logits (1x3x16x16)"),
        ("labels", "return a module whose forward gives the scores alone"),
    ],
)
def test_nothing_is_guessed_and_the_error_names_the_flag(here, kind, listed):
    with pytest.raises(ModelError, match="the network returned for a 64x64 image a") as caught:
        load(kind)
    assert listed in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "key", "message", "hint"),
    [
        ("dict", "ot", "returns no output 'ot'; did you mean 'out'?", "it returns a dict of out, aux"),
        ("dict", "0", "returns no output '0'", "it returns a dict of out, aux"),
        ("tuple", "2", "output_key is 2, and the network returns a tuple of 2", "numbered 0 to 1"),
        ("tuple", "-1", "output_key is -1, and the network returns a tuple of 2", "numbered 0 to 1"),
        ("tuple", "out", "returns no output 'out'", "it returns a tuple of 0, 1"),
        ("named", "score", "did you mean 'scores'?", "it returns a Pair of 0, 1, scores, aux"),
        ("object", "logit", "did you mean 'logits'?", "it returns a SimpleNamespace of logits"),
    ],
)
def test_an_output_that_is_not_there(here, kind, key, message, hint):
    with pytest.raises(ModelError) as caught:
        load(kind, key)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_output_of_a_network_that_returns_scores_alone():
    with pytest.raises(ModelError, match="output_key is out, and the network returns one tensor") as caught:
        select_output(nn.Identity(), "out")(torch.zeros(1))
    assert caught.value.hint == "leave out output_key"


def test_an_output_that_holds_something_else(here):
    with pytest.raises(ModelError, match="a list of 1"):
        load("list", "1")


def test_the_names_of_outputs():
    pair = namedtuple("Pair", "a b")

    @dataclass
    class Output:
        a: int

    assert named_outputs(OrderedDict(a=1)) == {"a": 1}
    assert named_outputs(pair(1, 2)) == {"0": 1, "1": 2, "a": 1, "b": 2}
    assert named_outputs(Output(1)) == {"a": 1}
    assert named_outputs(torch.zeros(1)) == {}
    assert named_outputs(None) == {}
    assert list(named_outputs(SimpleNamespace(a=torch.zeros(1), b=2))) == ["a"]

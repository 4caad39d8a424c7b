"""Weights fitted into backbones: which network takes them, what is compared, and what is loaded."""

from __future__ import annotations

import sys

import pytest
import torch
from mmseg_support.small_backbones import backbone_of, weights_of, write_config
from segplug_mmseg.backbone import fit
from torch import nn

from segplug import Segplug
from segplug.errors import CheckpointError, ModelError, UsageError

FAMILIES = {
    "vit": "VisionTransformer",
    "swin": "SwinTransformer",
    "beit": "BEiT",
    "mae": "MAE",
    "mit": "MixVisionTransformer",
    "twins": "PCPVT",
    "resnet": "ResNetV1c",
    "stdc": "STDCNet",  # inside of STDCContextPathNet
    "bisenet": "ResNet",  # inside of BiSeNetV1
    "icnet": "ResNetV1c",  # inside of ICNet
}


def innermost(network):
    return getattr(getattr(network, "context_path", network), "backbone", network)


@pytest.fixture
def resnet(tmp_path):
    """A config and weights that fit it."""
    config = write_config(tmp_path, "resnet")
    return config, weights_of(backbone_of(config))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_innermost_backbone_takes_its_own_weights_as_they_are(family, tmp_path):
    config = write_config(tmp_path, family)
    state = weights_of(innermost(backbone_of(config)))
    given, random_state = dict(state), torch.get_rng_state()
    result = Segplug().fit_backbone(config, state)
    assert result.fits
    assert result.backbone == FAMILIES[family]
    assert not result.resized
    assert list(result.state) == list(state)
    assert all(result.state[name] is tensor for name, tensor in given.items())
    assert list(state) == list(given)
    assert torch.equal(torch.get_rng_state(), random_state)  # no weights were drawn, to be thrown away


def test_what_does_not_fit_is_listed_in_the_order_of_the_network(resnet):
    config, state = resnet
    names = list(state)
    first, second = names[0], names[-3]
    for name in ("layer4.0.conv1.weight", "layer1.0.conv1.weight"):
        state[name] = state.pop(name)[:5]  # out of order in the file
    del state[second], state[first]
    state |= {"head.weight": torch.zeros(2), "fc.weight": torch.zeros(2)}
    result = Segplug().fit_backbone(config, state)
    assert not result.fits
    assert result.missing == (first, second)
    assert result.unexpected == ("head.weight", "fc.weight")
    assert result.misshaped == (
        ("layer1.0.conv1.weight", (5, 64, 3, 3), (64, 64, 3, 3)),
        ("layer4.0.conv1.weight", (5, 256, 3, 3), (512, 256, 3, 3)),
    )


def test_weights_are_shared_and_loaded_only_if_all_of_them_fit(resnet):
    config, state = resnet
    backbone = backbone_of(config)
    before = {name: tensor.data_ptr() for name, tensor in backbone.state_dict().items()}
    assert not fit(backbone, state | {"more": torch.zeros(1)}).fits
    assert {name: tensor.data_ptr() for name, tensor in backbone.state_dict().items()} == before
    assert fit(backbone, state).fits
    for name, tensor in backbone.state_dict().items():
        assert tensor.data_ptr() == state[name].data_ptr(), name


def test_parameters_of_a_living_network_keep_their_flags(resnet):
    config, state = resnet
    state = {name: nn.Parameter(t, requires_grad=False) if t.dim() else t for name, t in state.items()}
    assert Segplug().fit_backbone(config, state).fits
    assert not any(tensor.requires_grad for tensor in state.values())


def test_parts_that_the_network_may_lack_are_left_out_and_listed(resnet):
    config, state = resnet
    more = {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}
    optional = ["layer1.0.conv1.weight", "fc.weight", "fc.bias", "nowhere"]
    result = Segplug().fit_backbone(config, more | state, optional=optional)
    assert result.fits
    assert result.left_out == ("fc.weight", "fc.bias")
    assert list(result.state) == list(state)
    assert Segplug().fit_backbone(config, more | state).unexpected == ("fc.weight", "fc.bias")


def test_counters_of_batches_are_not_missing_but_everything_else_is(resnet):
    config, state = resnet
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    result = Segplug().fit_backbone(config, old)
    assert result.fits
    assert list(result.state) == list(old)
    variance = next(name for name in old if name.endswith("running_var"))
    del old[variance]
    assert Segplug().fit_backbone(config, old).missing == (variance,)


@pytest.mark.parametrize("family", ["swin", "beit"])
def test_an_index_of_relative_positions_is_the_networks_own(family, tmp_path):
    config = write_config(tmp_path, family)
    whole = weights_of(backbone_of(config))
    indices = [name for name in whole if name.endswith("relative_position_index")]
    result = Segplug().fit_backbone(config, {k: v for k, v in whole.items() if k not in indices})
    assert result.fits
    assert not result.resized
    assert indices
    for name in indices:
        assert torch.equal(result.state[name], whole[name])


def test_an_index_of_another_order_is_loaded_by_swin_and_not_by_beit_as_in_mmseg(tmp_path):
    for family, is_kept in (("swin", True), ("beit", False)):
        config = write_config(tmp_path, family)
        state = weights_of(backbone_of(config))
        name = next(name for name in state if name.endswith("relative_position_index"))
        own, state[name] = state[name], state[name].T.contiguous()
        result = Segplug().fit_backbone(config, state)
        assert result.fits
        assert torch.equal(result.state[name], state[name] if is_kept else own)
        assert [(item.name, item.how) for item in result.resized] == (
            [] if is_kept else [(name, "the network's own")]
        )


def test_tensors_that_are_no_weights(resnet):
    config, state = resnet
    state["layer4.0.conv1.weight"] = state["layer4.0.conv1.weight"].to(torch.int8)
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"].to(torch.int8)
    message = "layer1.0.conv1.weight and 1 more cannot be weights of ResNetV1c: the type is torch.int8"
    with pytest.raises(CheckpointError, match=message):
        Segplug().fit_backbone(config, state)


CUSTOM_MODULE = """
from mmseg.models.builder import SEGMENTORS
from mmseg.models.segmentors import BaseSegmentor
from torch.nn import Identity, ModuleDict

@SEGMENTORS.register_module(force=True)
class Custom(BaseSegmentor):
    def __init__(self, branched, train_cfg=None, test_cfg=None):
        super().__init__()
        if branched:
            branches = {name: ModuleDict({'backbone': Identity()}) for name in ('context', 'detail')}
            self.backbone = ModuleDict(branches)
    def extract_feat(self, *_): ...
    encode_decode = forward_train = simple_test = aug_test = loss = predict = _forward = extract_feat
"""
CUSTOM = "custom_imports = dict(imports=['custom_of_a_test'])\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            CUSTOM + "model = dict(type='Custom', branched=False)",
            r"the model of .*odd.py \(Custom\) has no `backbone` to load weights into",
        ),
        (
            CUSTOM + "model = dict(type='Custom', branched=True)",
            r"has several .*: backbone, backbone.context.backbone, backbone.detail.backbone",
        ),
        (
            "model = dict(type='EncoderDecoder', decode_head=dict())",
            r"cannot build .*odd.py: .*'backbone'",
        ),
        (
            "model = dict(type='EncoderDecoder', backbone=dict(type='NoSuchNet'), decode_head=dict())",
            r"cannot build the model of .*odd.py.*NoSuchNet is not in the",
        ),
        ("data = dict()", r"has no `model` with a `type`"),
    ],
)
def test_configs_without_one_backbone(text, message, tmp_path, monkeypatch):
    (tmp_path / "custom_of_a_test.py").write_text(CUSTOM_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "custom_of_a_test", raising=False)
    config = tmp_path / "odd.py"
    config.write_text(text)
    with pytest.raises(ModelError, match=message):
        Segplug().fit_backbone(config, {})


def test_a_config_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="there is no config"):
        Segplug().fit_backbone(tmp_path / "nowhere.py", {})

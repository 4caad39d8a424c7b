"""``convert_weights mobilenet-v3``: torchvision's networks and mmseg's give the same features.

mmseg's backbone has a stride of 8 and dilates its last blocks; no option of it undoes that. So torchvision's
network gets mmseg's strides and dilations here: they change no tensor.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from converters_support.conversion import assert_reversible, converted, unnoticed_losses
from converters_support.foreign import (
    TOLERANCE,
    assert_same_features,
    difference,
    image,
    library,
    outputs_of,
    seeded,
)
from converters_support.mmseg_backbone import mmseg_outputs, mmseg_shapes
from segplug_converters.families.mobilenet_v3 import provider
from segplug_converters.matching import best_plan
from segplug_converters.shapes import Shapes
from segplug_mmseg.compat import import_mmseg
from torch import nn

from segplug import Segplug
from segplug.checkpoint import write_weights
from segplug.errors import CheckpointError

BLOCKS = {"large": 15, "small": 11}
DILATED = {"large": (7, 13), "small": (4, 9)}
"""The blocks in which mmseg has a dilation of 2, and of 4 from there on, in place of a stride."""


def torchvision(arch: str) -> nn.Module:
    return seeded(library("torchvision.models").get_model(f"mobilenet_v3_{arch}", num_classes=5))


def as_in_mmseg(features: nn.Module, arch: str) -> None:
    """Give torchvision's blocks mmseg's strides and dilations."""
    two, four = DILATED[arch]
    for number in range(two, BLOCKS[arch] + 1):
        dilation = 4 if number >= four else 2
        for conv in features.get_submodule(str(number)).modules():
            if isinstance(conv, nn.Conv2d) and conv.groups > 1:
                conv.stride = (1, 1)
                conv.dilation = (dilation, dilation)
                pad = dilation * (conv.kernel_size[0] // 2)
                conv.padding = (pad, pad)


def everything(arch: str) -> dict[str, tuple[int, ...]]:
    return {"out_indices": tuple(range(BLOCKS[arch] + 2))}


def outputs(network: nn.Module, features: str, arch: str, pixels: torch.Tensor) -> list[torch.Tensor]:
    modules = [network.get_submodule(f"{features}.{number}") for number in range(BLOCKS[arch] + 2)]
    return outputs_of(modules, lambda: network(pixels))


@pytest.mark.parametrize("arch", ["large", "small"])
def test_all_layers(arch: str, tmp_path: Path) -> None:
    network = torchvision(arch)
    ours, report = converted("mobilenet-v3", network.state_dict(), tmp_path)
    assert report.data["layout"] == f"torchvision-{arch}"
    assert report.data["variant"] == f"MobileNetV3-{arch}"
    assert {item["name"].split(".")[0] for item in report.data["dropped"]} == {"classifier"}
    as_in_mmseg(network.get_submodule("features"), arch)
    settings = {**report.data["backbone"], **everything(arch)}
    for pixels in (image(65, 97), image(41, 33)):
        assert_same_features(
            mmseg_outputs(settings, ours, pixels), outputs(network, "features", arch, pixels)
        )


def test_in_a_segmentation_network(tmp_path: Path) -> None:
    """torchvision's LR-ASPP holds the parts without the name ``features``."""
    network = seeded(
        library("torchvision.models.segmentation").lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=5
        )
    )
    ours, report = converted("mobilenet-v3", network.state_dict(), tmp_path)
    assert report.data["layout"] == "torchvision-lraspp"
    assert report.data["prefix"] == "backbone."
    as_in_mmseg(network.get_submodule("backbone"), "large")
    settings, pixels = {**report.data["backbone"], **everything("large")}, image(65, 97)
    assert_same_features(mmseg_outputs(settings, ours, pixels), outputs(network, "backbone", "large", pixels))


@pytest.mark.parametrize(("size", "same"), [((65, 65), True), ((64, 64), False), ((67, 65), False)])
def test_padding(size: tuple[int, int], same: bool, tmp_path: Path) -> None:
    """Shows that the note holds: one more than a multiple of 8, or features differ."""
    network = torchvision("small")
    ours, report = converted("mobilenet-v3", network.state_dict(), tmp_path)
    assert any("multiple of 8" in note for note in report.notes)
    as_in_mmseg(network.get_submodule("features"), "small")
    settings, pixels = {**report.data["backbone"], **everything("small")}, image(*size)
    theirs = outputs(network, "features", "small", pixels)
    assert (difference(mmseg_outputs(settings, ours, pixels), theirs) < TOLERANCE) is same


def test_epsilon(tmp_path: Path) -> None:
    """Shows that the note holds: with mmseg's default the features are others."""
    network = torchvision("small")
    ours, report = converted("mobilenet-v3", network.state_dict(), tmp_path)
    as_in_mmseg(network.get_submodule("features"), "small")
    settings = {**report.data["backbone"], **everything("small"), "norm_cfg": {"type": "BN"}}
    pixels = image(65, 65)
    theirs = outputs(network, "features", "small", pixels)
    assert difference(mmseg_outputs(settings, ours, pixels), theirs) > TOLERANCE


CONFIG = """
_base_ = ["{configs}/mobilenet_v3/lraspp_m-v3{s}-d8_512x1024_320k_cityscapes.py"]
norm_cfg = dict(type='BN', eps=0.001, requires_grad=True)
model = dict(pretrained=None, backbone=dict(norm_cfg=norm_cfg), decode_head=dict(norm_cfg=norm_cfg))
"""


@pytest.mark.parametrize("arch", ["large", "small"])
def test_check_with_a_config_of_mmseg(arch: str, tmp_path: Path) -> None:
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    (tmp_path / "config.py").write_text(CONFIG.format(configs=configs, s="s" if arch == "small" else ""))
    ours, report = converted(
        "mobilenet-v3", torchvision(arch).state_dict(), tmp_path, check=str(tmp_path / "config.py")
    )
    assert report.data["check"]["tensors"] == len(ours)


@pytest.mark.parametrize("arch", ["large", "small"])
def test_reverse_gives_the_same_bits(arch: str, tmp_path: Path) -> None:
    assert_reversible("mobilenet-v3", f"torchvision-{arch}", torchvision(arch).state_dict(), tmp_path)


@pytest.mark.parametrize("arch", ["large", "small"])
def test_shapes_are_those_of_mmseg(arch: str) -> None:
    state = torchvision(arch).state_dict()
    plan = best_plan(provider.layouts, state)
    assert plan is not None
    assert plan.complete
    shapes = {step.targets[0]: tuple(state[step.sources[0]].shape) for step in plan.steps}
    assert mmseg_shapes(provider.describe(Shapes(shapes)).backbone) == shapes


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"reduced_tail": True}, "layer13 has 80 channels, mmseg's has 160"),
        ({"width_mult": 0.75}, "layer4 has 32 channels, mmseg's has 40"),
    ],
)
def test_networks_that_mmseg_does_not_have(settings: dict[str, float], words: str, tmp_path: Path) -> None:
    models = library("torchvision.models.mobilenetv3")
    network = models._mobilenet_v3(
        *models._mobilenet_v3_conf("mobilenet_v3_large", **settings), weights=None, progress=False
    )
    refused(dict(network.state_dict()), tmp_path, words)


def refused(state: dict[str, torch.Tensor], folder: Path, words: str) -> None:
    write_weights(folder / "source.pth", state)
    with pytest.raises(CheckpointError, match=words):
        Segplug().convert_weights("mobilenet-v3", folder / "source.pth", folder / "ours.pth")
    assert not (folder / "ours.pth").exists()


@pytest.mark.parametrize("gone", ["features.15.", "features.8.block.2.1.bias", "features.5.block.2.fc1."])
def test_a_truncated_file(gone: str, tmp_path: Path) -> None:
    state = {
        name: each for name, each in torchvision("large").state_dict().items() if not name.startswith(gone)
    }
    refused(state, tmp_path, gone.removesuffix("fc1."))


@pytest.mark.parametrize("arch", ["large", "small"])
def test_no_tensor_is_lost_unnoticed(arch: str) -> None:
    assert unnoticed_losses("mobilenet-v3", torchvision(arch).state_dict()) == []


def test_no_tensor_is_lost_unnoticed_in_a_segmentation_network() -> None:
    state = torchvision("large").state_dict()
    inside = {name.replace("features.", "backbone."): each for name, each in state.items()}
    assert unnoticed_losses("mobilenet-v3", inside) == []


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features.0.0.weight", (16, 1, 3, 3)),
        ("features.4.block.1.0.weight", (72, 1, 3, 3)),
        ("features.7.block.0.0.weight", (239, 40, 1, 1)),
        ("features.12.block.2.fc1.weight", (160, 672, 1, 1)),
        ("features.15.block.2.fc2.bias", (959,)),
        ("features.16.1.running_mean", (1,)),
    ],
)
def test_a_tensor_of_another_shape(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    state = dict(torchvision("large").state_dict())
    assert name in state
    wrong = "x".join(map(str, shape))
    refused({**state, name: torch.zeros(shape)}, tmp_path, f" is {wrong}, that of mmseg's MobileNetV3-large ")


def test_another_family(tmp_path: Path) -> None:
    """A MobileNetV2 is told apart, and the message says who reads it."""
    state = library("torchvision.models").mobilenet_v2(width_mult=0.25).state_dict()
    refused(dict(state), tmp_path, "convert_weights mobilenet-v2")

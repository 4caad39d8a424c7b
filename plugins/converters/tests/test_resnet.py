"""``convert_weights resnet``: torchvision's and timm's networks and mmseg's give the same features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from converters_support.conversion import State, assert_reversible, converted, unnoticed_losses
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
from segplug_converters.families.resnet import DEEP_STEM, TORCHVISION, describe
from segplug_converters.matching import best_plan
from segplug_converters.shapes import Shapes
from torch import nn

from segplug.cli.root import run_command_line
from segplug.errors import CheckpointError

SIZE = (73, 96)
"""Not square, and odd where a network halves it."""

NARROW = (16, 32, 64, 128)


def stages(network: nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of the four stages of torchvision's or timm's network."""
    layers = [network.get_submodule(f"layer{stage}") for stage in range(1, 5)]
    return outputs_of(layers, lambda: network(pixels))


def timm_resnet(block: str, layers: Sequence[int], **settings: Any) -> nn.Module:
    """timm's ResNet, narrower than any published one."""
    resnet = library("timm.models.resnet")
    return seeded(
        resnet.ResNet(getattr(resnet, block), list(layers), channels=NARROW, num_classes=5, **settings)
    )


def assert_same(network: nn.Module, folder: Path, *, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Convert, and compare all stages; what the report says of the weights."""
    ours, report = converted("resnet", network.state_dict(), folder)
    features = mmseg_outputs(report.data["backbone"], ours, image(*size))
    assert_same_features(features, stages(network, image(*size)))
    return dict(report.data)


@pytest.mark.parametrize(
    ("name", "variant", "kind"),
    [
        ("resnet18", "ResNet-18", "ResNet"),
        ("resnet50", "ResNet-50", "ResNet"),
        ("resnext50_32x4d", "ResNeXt-50 32x4d", "ResNeXt"),
    ],
)
def test_torchvision(name: str, variant: str, kind: str, tmp_path: Path) -> None:
    network = seeded(library("torchvision.models").get_model(name, num_classes=5))
    data = assert_same(network, tmp_path)
    assert (data["layout"], data["variant"], data["backbone"]["type"]) == ("torchvision", variant, kind)
    assert {item["name"] for item in data["dropped"]} == {"fc.weight", "fc.bias"}


def test_in_a_segmentation_network(tmp_path: Path) -> None:
    """What lies beside the backbone goes; dilations, which no tensor tells, are set as the note says."""
    network = seeded(
        library("torchvision.models.segmentation").fcn_resnet50(
            weights=None, weights_backbone=None, num_classes=5, aux_loss=True
        )
    )
    ours, report = converted("resnet", network.state_dict(), tmp_path)
    assert report.data["prefix"] == "backbone."
    assert {item["name"].split(".")[0] for item in report.data["dropped"]} == {
        "classifier",
        "aux_classifier",
    }
    dilated = {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4), "contract_dilation": True}
    assert any("strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)" in note for note in report.notes)
    features = mmseg_outputs({**report.data["backbone"], **dilated}, ours, image(*SIZE))
    assert_same_features(features, stages(network.get_submodule("backbone"), image(*SIZE)))


@pytest.mark.parametrize(
    ("settings", "variant", "kind"),
    [
        ({}, "ResNet-18", "ResNet"),
        ({"avg_down": True}, "ResNet-18", "ResNet"),
        ({"stem_type": "deep", "stem_width": 32}, "ResNet-18-c", "ResNetV1c"),
        ({"stem_type": "deep", "stem_width": 64}, "ResNet-18-c", "ResNetV1c"),
        ({"stem_type": "deep", "stem_width": 32, "avg_down": True}, "ResNet-18-d", "ResNetV1d"),
    ],
)
def test_timm(settings: dict[str, Any], variant: str, kind: str, tmp_path: Path) -> None:
    data = assert_same(timm_resnet("BasicBlock", (2, 2, 2, 2), **settings), tmp_path)
    assert (data["variant"], data["backbone"]["type"]) == (variant, kind)
    assert data["backbone"]["base_channels"] == NARROW[0]


def test_timm_bottlenecks_in_groups(tmp_path: Path) -> None:
    """A ResNeXt with timm's deep stem and average pooling, which is no ResNetV1d in mmseg."""
    network = timm_resnet(
        "Bottleneck",
        (3, 4, 6, 3),
        **{"stem_type": "deep", "stem_width": 32, "avg_down": True, "cardinality": 4, "base_width": 32},
    )
    data = assert_same(network, tmp_path)
    assert data["backbone"]["type"] == "ResNeXt"
    assert data["backbone"]["groups"] == 4


def test_files_without_counters_of_batches(tmp_path: Path) -> None:
    """Files of 2017, such as resnet50-19c8e357.pth, have none; PyTorch loads strictly all the same."""
    network = timm_resnet("BasicBlock", (2, 2, 2, 2))
    state = {name: each for name, each in network.state_dict().items() if "num_batches" not in name}
    ours, report = converted("resnet", state, tmp_path)
    assert ours.keys() == state.keys() - {"fc.weight", "fc.bias"}
    features = mmseg_outputs(report.data["backbone"], ours, image(*SIZE))
    assert_same_features(features, stages(network, image(*SIZE)))


def test_a_pooling_that_changes_no_tensor(tmp_path: Path) -> None:
    """Shows that the note holds: a network that averages before it strides has the same tensors."""
    plain = timm_resnet("BasicBlock", (2, 2, 2, 2))
    averaging = timm_resnet("BasicBlock", (2, 2, 2, 2), aa_layer=nn.AvgPool2d)
    averaging.load_state_dict(plain.state_dict())
    ours, report = converted("resnet", averaging.state_dict(), tmp_path)
    assert any("resnetaa" in note for note in report.notes)
    features = mmseg_outputs(report.data["backbone"], ours, image(64, 64))
    assert difference(features, stages(averaging, image(64, 64))) > TOLERANCE


def test_a_stride_that_changes_no_tensor(tmp_path: Path) -> None:
    """Shows that the note holds: in Caffe's style mmseg gives other features with the same weights."""
    network = timm_resnet("Bottleneck", (3, 4, 6, 3))
    ours, report = converted("resnet", network.state_dict(), tmp_path)
    assert any("style='caffe'" in note for note in report.notes)
    features = mmseg_outputs({**report.data["backbone"], "style": "caffe"}, ours, image(64, 64))
    assert difference(features, stages(network, image(64, 64))) > TOLERANCE


def test_images_of_other_channels(tmp_path: Path) -> None:
    network = timm_resnet("BasicBlock", (2, 2, 2, 2), in_chans=1)
    ours, report = converted("resnet", network.state_dict(), tmp_path)
    pixels = image(64, 64)[:, :1]
    assert_same_features(mmseg_outputs(report.data["backbone"], ours, pixels), stages(network, pixels))


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (("projection_head.0.weight", "projection_head.1.running_mean"), "the projection of SwAV's training"),
        (("prototypes.weight", "prototypes.prototypes0.weight"), "the prototypes of SwAV's training"),
        (("fc.0.weight", "fc.2.bias"), "the projection of MoCo v2's training"),
    ],
)
def test_heads_of_training_without_labels(head: Sequence[str], why: str, tmp_path: Path) -> None:
    state = timm_resnet("BasicBlock", (2, 2, 2, 2)).state_dict()
    state = {name: each for name, each in state.items() if not name.startswith("fc.")}
    ours, report = converted("resnet", {**state, **dict.fromkeys(head, torch.zeros(3))}, tmp_path)
    assert ours.keys() == state.keys()
    assert {item["name"]: item["why"] for item in report.data["dropped"]} == dict.fromkeys(head, why)


@pytest.mark.parametrize("layout", [TORCHVISION.name, DEEP_STEM.name])
def test_reverse_gives_the_same_bits(layout: str, tmp_path: Path) -> None:
    deep = {"stem_type": "deep", "stem_width": 32, "avg_down": True} if layout == DEEP_STEM.name else {}
    network = timm_resnet("BasicBlock", (2, 2, 2, 2), **deep)
    assert_reversible("resnet", layout, network.state_dict(), tmp_path)


def meta_state(library_name: str, name: str) -> State:
    """Names and shapes of a published network, without memory."""
    with torch.device("meta"):
        create = library("timm").create_model if library_name == "timm" else None
        network = create(name) if create else library("torchvision.models").get_model(name)
    return dict(network.state_dict())


def understood(state: State) -> str:
    """The variant of weights that fit mmseg's backbone as their settings say; else why they do not."""
    plan = best_plan((TORCHVISION, DEEP_STEM), state)
    if plan is None or not plan.complete:
        return "left over"
    shapes = {step.targets[0]: tuple(state[step.sources[0]].shape) for step in plan.steps}
    try:
        variant = describe(Shapes(shapes))
    except CheckpointError as error:
        return error.message
    assert mmseg_shapes(variant.backbone) == shapes
    return variant.name


PUBLISHED = {
    **{f"resnet{depth}": f"ResNet-{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"resnet{depth}c": f"ResNet-{depth}-c" for depth in (50, 101, 152)},
    **{f"resnet{depth}d": f"ResNet-{depth}-d" for depth in (18, 34, 50, 101, 152)},
    **{f"resnet{depth}s": f"ResNet-{depth}-c" for depth in (50, 101, 152)},
    **{
        f"resnext{depth}_{groups}x{width}d": f"ResNeXt-{depth} {groups}x{width}d"
        for depth, groups, width in (
            (50, 32, 4), (101, 32, 4), (101, 32, 8), (101, 32, 16), (101, 32, 32), (101, 64, 4)
        )
    },
    "resnext50d_32x4d": "ResNeXt-50 32x4d",
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_of_timm(name: str) -> None:
    assert understood(meta_state("timm", name)) == PUBLISHED[name]


@pytest.mark.parametrize(
    "name", [n for n in PUBLISHED if n[-1] in "0123456789"] + ["resnext50_32x4d", "resnext101_32x8d"]
)
def test_published_networks_of_torchvision(name: str) -> None:
    assert understood(meta_state("torchvision", name)) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("wide_resnet50_2", "wide ResNet"),
        ("resnet26", "no ResNet with 2, 2, 2, 2 blocks of 3"),
        ("resnet200d", "no ResNet with 3, 24, 36, 3 blocks"),
        ("resnet50t", "a stem of 24, 32, 64 channels"),
        ("resnet50_gn", "left over"),
        ("seresnet50", "left over"),
        ("ecaresnet50d", "left over"),
        ("resnest50d", "left over"),
        ("res2net50_26w_4s", "left over"),
        ("skresnet50", "left over"),
    ],
)
def test_networks_that_mmseg_does_not_have(name: str, why: str) -> None:
    assert why in understood(meta_state("timm", name))


def test_a_truncated_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = dict(timm_resnet("BasicBlock", (2, 2, 2, 2)).state_dict())
    del state["layer3.0.downsample.1.bias"]
    torch.save(state, tmp_path / "source.pth")
    command = ["run", "convert_weights", "resnet", f"{tmp_path}/source.pth", f"{tmp_path}/ours.pth"]
    assert run_command_line(command) == 1
    assert "layer3.0.downsample.1.bias" in capsys.readouterr().err
    assert not (tmp_path / "ours.pth").exists()


@pytest.mark.parametrize(
    ("block", "layers", "settings"),
    [
        ("BasicBlock", (2, 2, 2, 2), {}),
        ("Bottleneck", (3, 4, 6, 3), {}),
        ("BasicBlock", (2, 2, 2, 2), {"stem_type": "deep", "stem_width": 32, "avg_down": True}),
    ],
)
def test_no_tensor_is_lost_unnoticed(block: str, layers: Sequence[int], settings: dict[str, Any]) -> None:
    assert unnoticed_losses("resnet", timm_resnet(block, layers, **settings).state_dict()) == []


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv1.weight", (64, 3, 3, 3)),
        ("bn1.weight", (63,)),
        ("layer3.0.conv1.weight", (64, 32, 5, 5)),
        ("layer3.0.conv1.weight", (64, 33, 3, 3)),
        ("layer4.1.bn2.running_var", (1,)),
        ("layer2.0.downsample.0.weight", (32, 16, 3, 3)),
    ],
)
def test_a_tensor_of_another_shape(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    state = timm_resnet("BasicBlock", (2, 2, 2, 2)).state_dict()
    assert name in state
    wanted = "x".join(map(str, state[name].shape))
    message = f"{name} is {'x'.join(map(str, shape))}, that of mmseg's ResNet-18 {wanted}"
    with pytest.raises(CheckpointError, match=message):
        converted("resnet", {**state, name: torch.zeros(shape)}, tmp_path)


def test_a_downsampling_where_mmseg_has_none(tmp_path: Path) -> None:
    state = dict(library("torchvision.models").resnet18(num_classes=5).state_dict())
    second = {name: each for name, each in state.items() if name.startswith("layer2.0.downsample")}
    first = {name.replace("layer2", "layer1"): each for name, each in second.items()}
    with pytest.raises(CheckpointError, match=r"mmseg.s ResNet-18 has no layer1\.0\.downsample\.0\.weight"):
        converted("resnet", {**state, **first}, tmp_path)


@pytest.mark.parametrize("name", ["layer2.1.conv2.weight", "layer3.0.downsample.0.weight"])
def test_a_convolution_that_is_missing_with_its_norm(name: str, tmp_path: Path) -> None:
    state = dict(timm_resnet("BasicBlock", (2, 2, 2, 2)).state_dict())
    layer = name.removesuffix(".weight").replace("conv2", "bn2").replace("downsample.0", "downsample.1")
    state = {key: each for key, each in state.items() if key != name and not key.startswith(layer)}
    with pytest.raises(CheckpointError, match=name):
        converted("resnet", state, tmp_path)

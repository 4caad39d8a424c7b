"""``convert_weights mobilenet-v2``: torchvision's and timm's networks and mmseg's give the same features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from converters_support.conversion import State, assert_reversible, converted, unnoticed_losses
from converters_support.foreign import assert_same_features, image, library, outputs_of, seeded
from converters_support.mmseg_backbone import mmseg_outputs, mmseg_shapes
from PIL import Image
from segplug_converters.families.mobilenet_v2 import provider
from segplug_converters.matching import best_plan
from segplug_converters.shapes import Shapes
from segplug_mmseg.compat import import_mmseg
from torch import nn

from segplug import Segplug
from segplug.checkpoint import read_checkpoint, write_weights
from segplug.errors import CheckpointError

TORCHVISION_ENDS = tuple(f"features.{number}" for number in (1, 3, 6, 10, 13, 16, 17))
TIMM_ENDS = tuple(f"blocks.{stage}" for stage in range(7))
"""Where mmseg's seven layers end in the other networks."""

ALL = {"out_indices": range(7)}


def torchvision(width: float = 0.25) -> nn.Module:
    return seeded(library("torchvision.models").mobilenet_v2(width_mult=width, num_classes=5))


def flat(network: nn.Module) -> nn.Module:
    """torchvision's network, as it was when a block was one flat list of layers."""
    for block in network.get_submodule("features"):  # type: ignore[attr-defined]
        if hasattr(block, "conv"):
            parts = [part if isinstance(part, nn.Sequential) else [part] for part in block.conv]
            block.conv = nn.Sequential(*(layer for part in parts for layer in part))
    return network


def timm() -> nn.Module:
    return seeded(library("timm").create_model("mobilenetv2_035", num_classes=5))


def layers(network: nn.Module, ends: Sequence[str], pixels: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of the seven layers."""
    return outputs_of([network.get_submodule(end) for end in ends], lambda: network(pixels))


@pytest.mark.parametrize(
    ("network", "ends", "layout", "width"),
    [
        (torchvision, TORCHVISION_ENDS, "torchvision", 0.25),
        (lambda: flat(torchvision()), TORCHVISION_ENDS, "flat", 0.25),
        (timm, TIMM_ENDS, "timm", 0.35),
    ],
    ids=["torchvision", "flat", "timm"],
)
def test_all_layers(
    network: Callable[[], nn.Module], ends: Sequence[str], layout: str, width: float, tmp_path: Path
) -> None:
    theirs = network()
    ours, report = converted("mobilenet-v2", theirs.state_dict(), tmp_path)
    assert report.data["layout"] == layout
    assert report.data["variant"] == f"MobileNetV2 x{width}"
    assert report.data["backbone"]["widen_factor"] == width
    for pixels in (image(96, 64), image(75, 107)):
        features = mmseg_outputs({**report.data["backbone"], **ALL}, ours, pixels)
        assert_same_features(features, layers(theirs, ends, pixels))
    assert_reversible("mobilenet-v2", layout, theirs.state_dict(), tmp_path)


def test_the_published_file(data_dir: Path, tmp_path: Path) -> None:
    """Trained weights and a real photograph: what mmseg computes is what torchvision computes."""
    source = data_dir / "weights" / "mobilenetv2_imagenet_torchvision_keys.pt"
    report = Segplug().convert_weights("mobilenet-v2", source, tmp_path / "ours.pth")
    assert report.data["layout"] == "flat"
    assert report.data["variant"] == "MobileNetV2"
    ours = dict(read_checkpoint(str(tmp_path / "ours.pth")).state)
    network = flat(library("torchvision.models").mobilenet_v2()).eval()
    loaded = network.load_state_dict(dict(read_checkpoint(str(source)).state), strict=False)
    assert loaded.missing_keys == ["classifier.1.weight", "classifier.1.bias"]
    assert not loaded.unexpected_keys
    pixels = photograph(data_dir)
    features = mmseg_outputs({**report.data["backbone"], **ALL}, ours, pixels)
    assert_same_features(features, layers(network, TORCHVISION_ENDS, pixels))


def photograph(data_dir: Path) -> torch.Tensor:
    """An image of CamVid, normalised as the weights were trained."""
    with Image.open(min((data_dir / "camvid" / "test").glob("*.png"))) as opened:
        values = torch.from_numpy(np.array(opened.convert("RGB"))).float() / 255
    mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((values - mean) / spread).permute(2, 0, 1)[None]


CONFIG = """
_base_ = ["{configs}/mobilenet_v2/fcn_m-v2-d8_512x512_160k_ade20k.py"]
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(pretrained=None, backbone=dict(norm_cfg=norm_cfg),
             decode_head=dict(norm_cfg=norm_cfg), auxiliary_head=dict(norm_cfg=norm_cfg))
"""


def test_check_with_a_config_of_mmseg(tmp_path: Path) -> None:
    """Its strides and dilations take the same weights, and compute other features, as the note says."""
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    (tmp_path / "config.py").write_text(CONFIG.format(configs=configs))
    ours, report = converted(
        "mobilenet-v2", torchvision(1).state_dict(), tmp_path, check=str(tmp_path / "config.py")
    )
    assert report.data["check"]["tensors"] == len(ours)
    assert any("other strides and dilations" in note for note in report.notes)
    plain = {**report.data["backbone"], **ALL}
    dilated = {**plain, "strides": (1, 2, 2, 1, 1, 1, 1), "dilations": (1, 1, 1, 2, 2, 4, 4)}
    sizes = [
        tuple(out[-1].shape[2:]) for out in (mmseg_outputs(s, ours, image(64, 64)) for s in (plain, dilated))
    ]
    assert sizes == [(2, 2), (8, 8)]


def understood(state: State) -> str:
    """The variant of weights that fit mmseg's backbone as their settings say; else why they do not."""
    plan = best_plan(provider.layouts, state)
    assert plan is not None
    if not plan.complete:
        return "left over"
    shapes = {step.targets[0]: tuple(state[step.sources[0]].shape) for step in plan.steps}
    try:
        variant = provider.describe(Shapes(shapes))
    except CheckpointError as error:
        return error.message
    assert mmseg_shapes(variant.backbone) == shapes
    return variant.name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenetv2_035", "MobileNetV2 x0.35"),
        ("mobilenetv2_050", "MobileNetV2 x0.5"),
        ("mobilenetv2_075", "MobileNetV2 x0.75"),
        ("mobilenetv2_100", "MobileNetV2"),
        ("mobilenetv2_140", "MobileNetV2 x1.4"),
        ("mobilenetv2_110d", "mmseg has no MobileNetV2 with 1, 3, 4, 5, 4, 4, 1 blocks in its layers"),
        ("mobilenetv2_120d", "mmseg has no MobileNetV2 with 1, 3, 5, 6, 5, 5, 1 blocks in its layers"),
        ("mobilenetv3_large_100", "left over"),
    ],
)
def test_published_networks_of_timm(name: str, expected: str) -> None:
    with torch.device("meta"):
        state = dict(library("timm").create_model(name).state_dict())
    assert understood(state) == expected


@pytest.mark.parametrize("width", [0.1, 0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4, 2.0])
def test_widths_of_torchvision(width: float) -> None:
    with torch.device("meta"):
        network = library("torchvision.models").mobilenet_v2(width_mult=width)
    name = understood(dict(network.state_dict()))
    assert name == "MobileNetV2" if width == 1 else name == f"MobileNetV2 x{width:g}"


def refused(state: dict[str, Any], folder: Path, words: str) -> None:
    write_weights(folder / "source.pth", state)
    with pytest.raises(CheckpointError, match=words):
        Segplug().convert_weights("mobilenet-v2", folder / "source.pth", folder / "ours.pth")
    assert not (folder / "ours.pth").exists()


@pytest.mark.parametrize("network", [torchvision, lambda: flat(torchvision())], ids=["torchvision", "flat"])
def test_a_truncated_file(network: Callable[[], nn.Module], tmp_path: Path) -> None:
    state = network().state_dict()
    refused(
        {name: each for name, each in state.items() if not name.startswith("features.16.")},
        tmp_path,
        "features.16",
    )


def test_a_truncated_file_of_timm(tmp_path: Path) -> None:
    state = {name: each for name, each in timm().state_dict().items() if not name.startswith("blocks.5.2.")}
    refused(state, tmp_path, "1, 2, 3, 4, 3, 2, 1 blocks")


NETWORKS = pytest.mark.parametrize(
    "network", [torchvision, lambda: flat(torchvision()), timm], ids=["torchvision", "flat", "timm"]
)


@NETWORKS
def test_no_tensor_is_lost_unnoticed(network: Callable[[], nn.Module]) -> None:
    assert unnoticed_losses("mobilenet-v2", network().state_dict()) == []


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv_stem.weight", (16, 1, 3, 3)),
        ("blocks.0.0.conv_pw.weight", (8, 16, 3, 3)),
        ("blocks.3.1.conv_dw.weight", (144, 1, 5, 5)),
        ("blocks.4.2.conv_pw.weight", (191, 32, 1, 1)),
        ("blocks.5.0.bn3.bias", (57,)),
    ],
)
def test_a_tensor_of_another_shape(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    state = dict(timm().state_dict())
    assert name in state
    wrong = "x".join(map(str, shape))
    refused({**state, name: torch.zeros(shape)}, tmp_path, f" is {wrong}, that of mmseg's MobileNetV2 x0.35 ")


def test_channels_of_no_width(tmp_path: Path) -> None:
    state = dict(timm().state_dict())
    state["blocks.6.0.conv_pwl.weight"] = state["blocks.6.0.conv_pwl.weight"].repeat(2, 1, 1, 1)
    refused(state, tmp_path, "no width factor")

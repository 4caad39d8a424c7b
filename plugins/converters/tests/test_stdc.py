"""``convert_weights stdc``: the official network and mmseg's give the same features.

No package holds the official network. :class:`OfficialSTDC` is written here after its published structure
and the names of its tensors; the converter's table is checked against it by the features of all stages, and
against mmseg's own script, which was written for the official files, by names and bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from converters_support.conversion import State, assert_reversible, converted, unnoticed_losses
from converters_support.foreign import assert_same_features, image, outputs_of, seeded
from converters_support.mmseg_backbone import mmseg_outputs, mmseg_shapes
from converters_support.mmseg_scripts import mmseg_script
from segplug_mmseg.compat import import_mmseg
from torch import nn

from segplug import Segplug
from segplug.checkpoint import write_weights
from segplug.errors import CheckpointError

BLOCKS = {1: (2, 2, 2), 2: (4, 5, 3)}
BASE = 16
"""Channels of the second convolution; the published networks have 64."""


class ConvX(nn.Module):
    """A convolution, its normalisation and ReLU."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


def depthwise(channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
    ]


class Bottleneck(nn.Module):
    """Four convolutions of fewer and fewer channels, whose outputs lie one after the other."""

    def __init__(self, before: int, after: int, stride: int, *, adding: bool) -> None:
        super().__init__()
        widths = [before, after // 2, after // 4, after // 8, after // 8]
        self.conv_list = nn.ModuleList(
            ConvX(a, b, 1 if place == 0 else 3) for place, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.stride, self.adding = stride, adding
        if stride == 2:
            self.avd_layer = nn.Sequential(*depthwise(after // 2))
            widen = [nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)]
            self.skip = nn.Sequential(*depthwise(before), *widen) if adding else nn.AvgPool2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.conv_list[0](x)
        smaller = self.avd_layer(first) if self.stride == 2 else first
        outputs = [smaller]
        for conv in self.conv_list[1:]:
            outputs.append(conv(outputs[-1]))
        if self.adding:
            return torch.cat(outputs, 1) + (self.skip(x) if self.stride == 2 else x)
        return torch.cat([self.skip(first) if self.stride == 2 else first, *outputs[1:]], 1)


class OfficialSTDC(nn.Module):
    """The network that official files of classification hold, with its parts under their second names."""

    def __init__(self, size: int, *, base: int = BASE, adding: bool = False) -> None:
        super().__init__()
        parts: list[nn.Module] = [ConvX(3, base // 2, 3, 2), ConvX(base // 2, base, 3, 2)]
        ends, before = [1, 2], base
        for stage, count in enumerate(BLOCKS[size]):
            after = base * 4 * 2**stage
            for block in range(count):
                parts.append(Bottleneck(before, after, 2 if block == 0 else 1, adding=adding))
                before = after
            ends.append(len(parts))
        self.features = nn.Sequential(*parts)
        self.stage_ends = [f"features.{end - 1}" for end in ends[2:]]
        wide = max(1024, before)
        self.conv_last = ConvX(before, wide, 1)
        self.fc = nn.Linear(wide, wide, bias=False)
        self.bn = nn.BatchNorm1d(wide)
        self.linear = nn.Linear(wide, 5, bias=False)
        for stride, start, end in zip((2, 4, 8, 16, 32), [0, *ends], ends, strict=False):
            self.add_module(f"x{stride}", nn.Sequential(self.features[start:end]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.conv_last(self.features(x))
        return output


class Around(nn.Module):
    """Where the official segmentation network has it: ``cp.backbone``, beside other parts."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.cp = nn.Module()
        self.cp.backbone = network
        self.cp.arm16 = ConvX(4, 4, 3)
        self.conv_out = ConvX(4, 4, 3)


def theirs(network: OfficialSTDC, pixels: torch.Tensor, *, last: bool) -> list[torch.Tensor]:
    """The last three stages, the last one behind the last convolution or before it."""
    names = [*network.stage_ends[:2], "conv_last" if last else network.stage_ends[2]]
    return outputs_of([network.get_submodule(name) for name in names], lambda: network(pixels))


@pytest.mark.parametrize("adding", [False, True], ids=["cat", "add"])
@pytest.mark.parametrize("size", [1, 2])
def test_all_stages(size: int, adding: bool, tmp_path: Path) -> None:
    network = seeded(OfficialSTDC(size, adding=adding))
    assert isinstance(network, OfficialSTDC)
    ours, report = converted("stdc", network.state_dict(), tmp_path)
    settings = report.data["backbone"]
    assert report.data["variant"] == f"STDC{size}"
    assert settings["channels"] == [8, 16, 64, 128, 256]
    assert settings["bottleneck_type"] == ("add" if adding else "cat")
    for pixels in (image(96, 64), image(75, 107)):
        assert_same_features(mmseg_outputs(settings, ours, pixels), theirs(network, pixels, last=True))


def test_without_the_last_convolution(tmp_path: Path) -> None:
    """As mmseg's configs have it; also where a file has none."""
    network = seeded(OfficialSTDC(1))
    assert isinstance(network, OfficialSTDC)
    state = {name: each for name, each in network.state_dict().items() if "conv_last" not in name}
    ours, report = converted("stdc", state, tmp_path)
    assert report.data["backbone"]["with_final_conv"] is False
    pixels = image(96, 64)
    assert_same_features(
        mmseg_outputs(report.data["backbone"], ours, pixels), theirs(network, pixels, last=False)
    )


def test_in_the_official_segmentation_network(tmp_path: Path) -> None:
    network = OfficialSTDC(2)
    alone, _ = converted("stdc", network.state_dict(), tmp_path)
    ours, report = converted("stdc", Around(network).state_dict(), tmp_path)
    assert report.data["prefix"] == "cp.backbone."
    assert ours.keys() == alone.keys()
    dropped = {item["name"]: item["why"] for item in report.data["dropped"]}
    assert dropped["cp.backbone.x4.0.1.conv.weight"] == "the same tensors as features.*"
    assert dropped["cp.arm16.conv.weight"] == "outside of cp.backbone.*"


@pytest.mark.parametrize("size", [1, 2])
def test_published_networks(size: int, tmp_path: Path) -> None:
    """At full width: names and shapes are those of the backbone in mmseg's configs."""
    network = OfficialSTDC(size, base=64)
    ours, report = converted("stdc", network.state_dict(), tmp_path)
    assert report.data["backbone"]["channels"] == [32, 64, 256, 512, 1024]
    assert mmseg_shapes(report.data["backbone"]) == {name: tuple(each.shape) for name, each in ours.items()}


CONFIG = """
_base_ = ["{configs}/_base_/models/stdc.py"]
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(backbone=dict(backbone_cfg=dict(norm_cfg=norm_cfg)))
"""


def test_check_with_a_config_of_mmseg(tmp_path: Path) -> None:
    """The backbone lies inside of another one there, and is built without the last convolution."""
    configs = Path(str(import_mmseg().__file__)).parent / ".mim" / "configs"
    (tmp_path / "config.py").write_text(CONFIG.format(configs=configs))
    state = OfficialSTDC(1, base=64).state_dict()
    ours, report = converted("stdc", state, tmp_path, check=str(tmp_path / "config.py"))
    assert {name.split(".")[0] for name in report.data["check"]["left_out"]} == {"final_conv"}
    assert {name.split(".")[0] for name in ours} == {"stages"}


@pytest.mark.parametrize("size", [1, 2])
def test_mmsegs_own_script_gives_the_same_bits(size: int, tmp_path: Path) -> None:
    """The same names and bits for all that it takes over, without being told which network it is.

    The script takes no network of a segmentation file (``cp.backbone.*``), nor the last convolution.
    """
    network = seeded(OfficialSTDC(size))
    state = {name: each for name, each in network.state_dict().items() if not name.startswith("x")}
    ours, _ = converted("stdc", state, tmp_path)
    script = mmseg_script("stdc2mmseg")
    old = script.convert_stdc(state, f"STDC{size}")
    assert {name for name in ours if not name.startswith("final_conv.")} == old.keys()
    for name, tensor in old.items():
        assert torch.equal(ours[name], tensor), name
    with pytest.raises(ValueError):
        script.convert_stdc(Around(network).state_dict(), f"STDC{size}")


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("adding", [False, True])
def test_reverse_gives_the_same_bits(size: int, adding: bool, tmp_path: Path) -> None:
    state = seeded(OfficialSTDC(size, adding=adding)).state_dict()
    assert_reversible("stdc", f"stdc{size}-add" if adding else f"stdc{size}", state, tmp_path)


def test_copies_that_differ_cannot_be_converted_back(tmp_path: Path) -> None:
    """mmseg holds a strided convolution twice; a change of one copy must not be lost silently."""
    ours, _ = converted("stdc", OfficialSTDC(1, adding=True).state_dict(), tmp_path / "there")
    ours["stages.3.0.layers.0.1.conv.weight"] = ours["stages.3.0.layers.0.1.conv.weight"] + 1
    with pytest.raises(CheckpointError, match="their values differ"):
        converted("stdc", ours, tmp_path / "back", reverse=True, layout="stdc1-add")


def state_of(size: int, *, adding: bool = False) -> dict[str, torch.Tensor]:
    """A network's tensors, each under one name."""
    return without(OfficialSTDC(size, adding=adding).state_dict(), "x")


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("adding", [False, True], ids=["cat", "add"])
def test_no_tensor_is_lost_unnoticed(size: int, adding: bool) -> None:
    assert unnoticed_losses("stdc", state_of(size, adding=adding)) == []


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features.3.conv_list.1.conv.weight", (16, 32, 5, 5)),
        ("features.5.conv_list.0.bn.weight", (63,)),
        ("features.0.bn.running_var", (1,)),
        ("conv_last.conv.weight", (1024, 255, 1, 1)),
    ],
)
@pytest.mark.parametrize("adding", [False, True], ids=["cat", "add"])
def test_a_tensor_of_another_shape(name: str, shape: tuple[int, ...], adding: bool, tmp_path: Path) -> None:
    state = state_of(1, adding=adding)
    assert name in state
    wrong = "x".join(map(str, shape))
    with pytest.raises(CheckpointError, match=rf" is {wrong}, that of mmseg's STDC1 \d"):
        converted("stdc", {**state, name: torch.zeros(shape)}, tmp_path)


def without(state: State, *prefixes: str) -> dict[str, torch.Tensor]:
    return {name: each for name, each in state.items() if not name.startswith(prefixes)}


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [
        (("features.13.", "x"), "features.13.conv_list"),  # STDC2 without its last block
        (("features.6.conv_list.2.bn", "x"), "features.6.conv_list.2.bn"),
        (("conv_last.bn", "x"), "conv_last.bn.weight"),
        (("conv_last.conv", "x"), "conv_last.conv.weight"),
    ],
)
def test_a_truncated_file(prefixes: Sequence[str], expected: str, tmp_path: Path) -> None:
    state = without(OfficialSTDC(2).state_dict(), *prefixes)
    write_weights(tmp_path / "source.pth", state)
    with pytest.raises(CheckpointError, match=expected):
        Segplug().convert_weights("stdc", tmp_path / "source.pth", tmp_path / "ours.pth")
    assert not (tmp_path / "ours.pth").exists()

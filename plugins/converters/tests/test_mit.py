"""MiT's layouts, each against the network of the library that writes it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from converters_support.conversion import (
    State,
    assert_reversible,
    backbone,
    converted,
    unnoticed_losses,
)
from converters_support.foreign import (
    TOLERANCE,
    assert_same_features,
    difference,
    image,
    library,
    saved,
    seeded,
)
from converters_support.mmseg_scripts import mmseg_script
from segplug_converters.convert import apply_plan
from segplug_converters.families.mit import describe, provider
from segplug_converters.matching import best_plan
from segplug_converters.plan import Plan
from segplug_converters.shapes import Shapes
from segplug_mmseg.compat import import_mmseg

from segplug.errors import CheckpointError

LAYOUTS = ["official", "transformers", "transformers-5"]
SIZES = [(64, 64), (75, 101)]
"""The second is a multiple of nothing."""
DEPTHS = [1, 2, 1, 2]
WIDTHS = [16, 32, 80, 128]


def smp_encoder(**changed: Any) -> torch.nn.Module:
    """A small network of smp."""
    return seeded(smp_network("mit_b0", **{"depths": DEPTHS, "embed_dims": WIDTHS, **changed}))


def smp_network(name: str, **changed: Any) -> torch.nn.Module:
    encoders = library("segmentation_models_pytorch.encoders.mix_transformer")
    network: torch.nn.Module = encoders.MixVisionTransformerEncoder(**{**smp_params(name), **changed})
    return network


def smp_params(name: str) -> dict[str, Any]:
    encoders = library("segmentation_models_pytorch.encoders.mix_transformer").mix_transformer_encoders
    return dict(encoders[name]["params"])


def segformer(kind: str = "SegformerModel", **changed: Any) -> Any:
    """A small network of transformers."""
    small = {"hidden_sizes": WIDTHS, "depths": DEPTHS, "decoder_hidden_size": 16}
    transformers = library("transformers")
    return seeded(getattr(transformers, kind)(transformers.SegformerConfig(**{**small, **changed})))


def foreign(layout: str, folder: Path) -> tuple[torch.nn.Module, State]:
    """A small network and its weights in a layout."""
    network: torch.nn.Module = smp_encoder() if layout == "official" else segformer()
    return network, saved(network, folder) if layout == "transformers" else network.state_dict()


@torch.no_grad()
def features(network: Any, size: tuple[int, int] = (64, 64)) -> Sequence[torch.Tensor]:
    """The outputs of all stages of a foreign network."""
    if hasattr(network, "stages"):
        return tuple(network(image(*size), output_hidden_states=True).hidden_states)
    return tuple(network(image(*size))[2:])


@torch.no_grad()
def ours(
    settings: Mapping[str, Any], state: State, size: tuple[int, int] = (64, 64)
) -> Sequence[torch.Tensor]:
    return tuple(backbone(settings, state)(image(*size)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_features_are_the_same(tmp_path: Path, layout: str) -> None:
    theirs, given = foreign(layout, tmp_path)
    state, report = converted("mit", given, tmp_path)
    assert report.data["layout"] == layout
    for size in SIZES:
        assert_same_features(ours(report.data["backbone"], state, size), features(theirs, size))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_small_embeddings_need_the_eps_that_is_reported(tmp_path: Path, layout: str) -> None:
    theirs, _ = foreign(layout, tmp_path)
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if ".proj." in name and "patch_embed" in name:
                tensor.mul_(0.1)
    given = saved(theirs, tmp_path) if layout == "transformers" else theirs.state_dict()
    state, report = converted("mit", given, tmp_path)
    assert any("in norm_cfg; with mmseg's default, 1e-6" in note for note in report.notes)
    settings = report.data["backbone"]
    assert_same_features(ours(settings, state), features(theirs))
    default = {name: value for name, value in settings.items() if name != "norm_cfg"}
    assert difference(ours(default, state), features(theirs)) > TOLERANCE


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reverse_gives_the_same_bits(tmp_path: Path, layout: str) -> None:
    _, given = foreign(layout, tmp_path)
    assert_reversible("mit", layout, given, tmp_path)


def test_reverse_gives_official_names_by_default(tmp_path: Path) -> None:
    _, given = foreign("official", tmp_path)
    state, _ = converted("mit", given, tmp_path / "there")
    back, report = converted("mit", state, tmp_path / "back", reverse=True)
    assert report.data["layout"] == "official"
    assert back.keys() == given.keys()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_tensor_is_lost_unnoticed(tmp_path: Path, layout: str) -> None:
    assert unnoticed_losses("mit", foreign(layout, tmp_path)[1]) == []


@pytest.mark.parametrize("kind", ["as saved", "in memory"])
def test_stages_that_reduce_nothing_are_read(tmp_path: Path, kind: str) -> None:
    network = segformer(sr_ratios=[4, 1, 1, 1])
    given = saved(network, tmp_path) if kind == "as saved" else network.state_dict()
    state, report = converted("mit", given, tmp_path)
    assert report.data["backbone"]["sr_ratios"] == [4, 1, 1, 1]
    assert_same_features(ours(report.data["backbone"], state), features(network))


def official_segmentor(folder: Path) -> tuple[State, State]:
    """As in NVlabs' fine-tuned files."""
    bare = smp_encoder().state_dict()
    head = {
        "decode_head.linear_c1.proj.weight": torch.ones(8, 16),
        "decode_head.conv_seg.bias": torch.ones(2),
    }
    return bare, {**{f"backbone.{name}": tensor for name, tensor in bare.items()}, **head}


def official_classifier(folder: Path) -> tuple[State, State]:
    """As in NVlabs' ImageNet files."""
    bare = smp_encoder().state_dict()
    return bare, {**bare, "head.weight": torch.ones(5, 128), "head.bias": torch.ones(5)}


def smp_segmentor(folder: Path) -> tuple[State, State]:
    whole = seeded(library("segmentation_models_pytorch").Unet("mit_b0", encoder_weights=None, classes=3))
    return whole.encoder.state_dict(), whole.state_dict()  # type: ignore[union-attr]


def transformers_segmentor(folder: Path) -> tuple[State, State]:
    whole = segformer("SegformerForSemanticSegmentation")
    return whole.segformer.state_dict(), saved(whole, folder)


def transformers_classifier(folder: Path) -> tuple[State, State]:
    whole = segformer("SegformerForImageClassification")
    return whole.segformer.state_dict(), whole.state_dict()


@pytest.mark.parametrize(
    ("build", "prefix"),
    [
        (official_segmentor, "backbone."),
        (official_classifier, ""),
        (smp_segmentor, "encoder."),
        (transformers_segmentor, "segformer."),
        (transformers_classifier, "segformer."),
    ],
)
def test_heads_are_left_out(
    tmp_path: Path, build: Callable[[Path], tuple[State, State]], prefix: str
) -> None:
    bare, whole = build(tmp_path)
    expected, _ = converted("mit", bare, tmp_path / "bare")
    state, report = converted("mit", whole, tmp_path / "whole")
    assert report.data["prefix"] == prefix
    assert report.data["dropped"]
    assert state.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())


def test_mmsegs_own_script_gives_the_same_bits(tmp_path: Path) -> None:
    _, given = official_classifier(tmp_path)
    expected_state = mmseg_script("mit2mmseg").convert_mit(given)
    state, _ = converted("mit", given, tmp_path)
    assert state.keys() == expected_state.keys()
    assert all(torch.equal(tensor, expected_state[name]) for name, tensor in state.items())


def planned(names: State) -> Plan:
    plan = best_plan(provider.layouts, names)
    assert plan is not None
    return plan


@pytest.mark.parametrize("number", range(6))
def test_published_encoders_are_known(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Of both libraries, down to the shapes in the backbone that is reported; without memory for values."""
    params = smp_params(f"mit_b{number}")
    transformers = library("transformers")
    config = transformers.SegformerConfig(hidden_sizes=params["embed_dims"], depths=params["depths"])
    import_mmseg()
    from mmseg.models import build_backbone

    # Networks read numbers from a tensor while they are built: how many paths each block drops.
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        networks = {
            "official": smp_network(f"mit_b{number}"),
            "transformers-5": transformers.SegformerModel(config),
        }
    for layout, network in networks.items():
        plan = planned(network.state_dict())
        assert plan.complete
        assert plan.layout.name == layout
        shapes = {name: tensor.shape for name, tensor in apply_plan(plan, network.state_dict()).items()}
        variant = describe(Shapes(shapes))
        assert (variant.name, variant.notes) == (f"MiT-B{number}", ())
        with torch.device("meta"):
            wanted = build_backbone(dict(variant.backbone)).state_dict()
        assert shapes == {name: tensor.shape for name, tensor in wanted.items()}


def without(state: State, *parts: str) -> State:
    return {name: tensor for name, tensor in state.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (lambda state: without(state, "block2.0."), "lack layers.1.1.0.norm1.weight, but have others after"),
        (lambda state: without(state, "block2.1.attn.sr."), "no rule knows .block2.1.attn.norm."),
        (
            lambda state: without(state, "block2.1.attn.sr.", "block2.1.attn.norm."),
            "layers.1.1.1.attn.norm.bias is missing, that of block 0 32: blocks of one stage must be alike",
        ),
        (
            lambda state: without(state, "block4.", "patch_embed4.", "norm4."),
            "3 stages, where all published MiT have 4: is the file whole",
        ),
        (
            lambda state: {**state, "block2.1.mlp.fc1.bias": torch.ones(7)},
            "layers.1.1.1.ffn.layers.0.bias is 7, that of block 0 128",
        ),
        (
            lambda state: without(state, "block3.0.mlp.dwconv"),
            "2 tensors missing .block3.0.mlp.dwconv.dwconv",
        ),
        (lambda state: without(state, "block1.0.attn.q.bias"), "1 tensor missing .block1.0.attn.q.bias"),
        (
            lambda state: {**state, "block1.0.mlp.fc1.weight": torch.ones(64, 16, 1)},
            "block1.0.mlp.fc1.weight cannot become .*it has 3 dimensions, not 2",
        ),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, damaged: Callable[[State], State], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        converted("mit", damaged(smp_encoder().state_dict()), tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mlp_ratios": [8, 8, 4, 4]}, "128 of 16, 256 of 32, 320 of 80, 512 of 128 do not fit"),
        ({"embed_dims": [16, 24, 80, 128], "num_heads": [1, 1, 1, 1]}, "stages of 16, 24, 80, 128 channels"),
    ],
)
def test_networks_that_mmseg_cannot_build_are_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    """The first has the names and blocks of PVT v2."""
    with pytest.raises(CheckpointError, match=message):
        converted("mit", smp_encoder(**changed).state_dict(), tmp_path)


def test_part_of_a_file_does_not_pass_for_a_smaller_network(tmp_path: Path) -> None:
    """Two stages, and the beginning of the third, which is let through."""
    behind = [f"{part}{stage}." for part in ("block", "patch_embed", "norm") for stage in (3, 4)]
    network = smp_encoder().state_dict()
    shard = {**without(network, *behind), "patch_embed3.norm.bias": network["patch_embed3.norm.bias"]}
    with pytest.raises(CheckpointError, match="2 stages, where all published MiT have 4"):
        converted("mit", shard, tmp_path, allow_unknown=True)


def test_settings_that_weights_do_not_hold_are_assumed_in_a_note(tmp_path: Path) -> None:
    _, report = converted("mit", smp_encoder().state_dict(), tmp_path)
    assert report.data["variant"] == "MiT, 16/32/80/128 channels, 1/2/1/2 blocks"
    assert (
        "the number of heads cannot be read from the weights: one for every 16 channels is assumed"
        in report.notes
    )

"""``convert_weights twins``: the same features as timm's networks, stage by stage."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
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
    seeded,
)
from converters_support.mmseg_backbone import mmseg_shapes
from converters_support.mmseg_scripts import mmseg_script
from segplug_converters.convert import apply_plan
from segplug_converters.families.twins import provider
from segplug_converters.matching import best_plan
from segplug_converters.shapes import Shapes

from segplug.errors import CheckpointError

_PCPVT: dict[str, Any] = {
    "embed_dims": (64, 128, 64, 128),
    "num_heads": (1, 2, 1, 2),
    "mlp_ratios": (2, 3, 4, 1),
    "depths": (2, 1, 2, 1),
    "sr_ratios": (8, 4, 2, 1),
}
_SVT: dict[str, Any] = {
    **_PCPVT,
    "num_heads": (2, 4, 2, 4),
    "depths": (2, 2, 3, 2),
    "wss": (7, 7, 7, 7),
}


def twins(settings: dict[str, Any]) -> Any:
    library("timm")
    from timm.models.twins import Twins

    return seeded(Twins(**settings, num_classes=3))


def run(network: torch.nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(network(pixels))


def features(network: Any, pixels: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of timm's stages."""
    with torch.no_grad():
        return list(network.forward_intermediates(pixels, intermediates_only=True))


def features_with_norms(network: Any, norms: State, pixels: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of timm's stages with a norm after each, as in the official segmentation network."""
    stages, maps = [], pixels
    with torch.no_grad():
        for stage, blocks in enumerate(network.blocks):
            tokens, size = network.patch_embeds[stage](maps)
            for number, block in enumerate(blocks):
                tokens = block(tokens, size)
                if number == 0:
                    tokens = network.pos_block[stage](tokens, size)
            weight, bias = norms[f"norm_list.{stage}.weight"], norms[f"norm_list.{stage}.bias"]
            tokens = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:], weight, bias)
            maps = tokens.transpose(1, 2).reshape(1, -1, *size)
            stages.append(maps)
    return stages


def own_norms() -> dict[str, torch.Tensor]:
    """Weights for the norms after all stages."""
    norms = torch.nn.ModuleList(torch.nn.LayerNorm(width) for width in _SVT["embed_dims"])
    return {f"norm_list.{name}": tensor for name, tensor in seeded(norms, seed=3).state_dict().items()}


def without_norms(settings: dict[str, Any], state: State) -> torch.nn.Module:
    """The backbone as a config without ``norm_after_stage`` builds it."""
    return backbone({**settings, "norm_after_stage": False}, without(state, "norm_list."))


def segmentation_file() -> tuple[Any, dict[str, torch.Tensor]]:
    """A network, and its weights as the official segmentation network has them."""
    network = twins(_SVT)
    return network, {**without(network.state_dict(), "norm.", "head."), **own_norms()}


def whole(layout: str) -> dict[str, torch.Tensor]:
    """A file of the layout."""
    if layout == "svt-segmentation":
        return segmentation_file()[1]
    return dict(twins(_SVT if layout == "svt" else _PCPVT).state_dict())


def without(state: State, *starts: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(starts)}


@pytest.mark.parametrize("size", [(64, 128), (224, 160)])
def test_features_of_pcpvt_are_those_of_timm(size: tuple[int, int], tmp_path: Path) -> None:
    network = twins(_PCPVT)
    state, report = converted("twins", network.state_dict(), tmp_path)
    assert report.data["layout"] == "pcpvt"
    assert report.data["backbone"]["type"] == "PCPVT"
    pixels = image(*size)
    assert_same_features(run(backbone(report.data["backbone"], state), pixels), features(network, pixels))


@pytest.mark.parametrize("size", [(224, 448), (224, 96)])
def test_features_of_svt_are_those_of_timm_without_norms_between(
    size: tuple[int, int], tmp_path: Path
) -> None:
    network = twins(_SVT)
    state, report = converted("twins", network.state_dict(), tmp_path)
    assert report.data["layout"] == "svt"
    assert report.data["backbone"]["type"] == "SVT"
    pixels = image(*size)
    assert_same_features(
        run(without_norms(report.data["backbone"], state), pixels), features(network, pixels)
    )


def test_norms_of_a_classifier_are_new_but_for_its_own(tmp_path: Path) -> None:
    network = twins(_SVT)
    state, report = converted("twins", network.state_dict(), tmp_path)
    assert torch.equal(state["norm_list.3.weight"], network.norm.weight)
    assert torch.equal(state["norm_list.3.bias"], network.norm.bias)
    assert all((state[f"norm_list.{stage}.weight"] == 1).all() for stage in range(3))
    assert all((state[f"norm_list.{stage}.bias"] == 0).all() for stage in range(3))
    pixels = image(224, 96)
    ours = run(backbone(report.data["backbone"], state), pixels)
    assert_same_features(ours, features_with_norms(network, state, pixels))
    assert "with norm_after_stage=True" in report.notes[0]
    assert difference(run(without_norms(report.data["backbone"], state), pixels), ours) > TOLERANCE


@pytest.mark.parametrize("norms", [True, False])
def test_a_classifier_fits_configs_with_and_without_norms_between(norms: bool, tmp_path: Path) -> None:
    network = twins(_SVT)
    _, report = converted("twins", network.state_dict(), tmp_path)
    settings = {**report.data["backbone"], "norm_after_stage": norms}
    config = tmp_path / "config.py"
    head = {"type": "FCNHead", "in_channels": 64, "channels": 8, "num_convs": 1, "num_classes": 3}
    config.write_text(f"model = dict(type='EncoderDecoder', backbone={settings}, decode_head={head})")
    state, report = converted("twins", network.state_dict(), tmp_path, check=str(config))
    left_out = {f"norm_list.{stage}.{part}" for stage in range(4) for part in ("weight", "bias")}
    assert set(report.data["check"]["left_out"]) == (set() if norms else left_out)
    backbone(settings, state)


def test_features_of_official_segmentation_files_have_their_own_norms(tmp_path: Path) -> None:
    """No package has the official segmentation network: it is timm's with norms between the stages."""
    network, weights = segmentation_file()
    file = {f"backbone.{name}": tensor for name, tensor in weights.items()}
    file["decode_head.conv_seg.weight"] = torch.zeros(2, 2, 1, 1)
    state, report = converted("twins", file, tmp_path)
    assert (report.data["layout"], report.data["prefix"]) == ("svt-segmentation", "backbone.")
    pixels = image(224, 96)
    ours = run(backbone(report.data["backbone"], state), pixels)
    assert_same_features(ours, features_with_norms(network, weights, pixels))


def test_mmsegs_blocks_have_another_epsilon(tmp_path: Path) -> None:
    network = twins(_PCPVT)
    with torch.no_grad():  # maps of a small variance
        for parameter in network.patch_embeds[0].norm.parameters():
            parameter.mul_(1e-2)
    state, report = converted("twins", network.state_dict(), tmp_path)
    assert any("eps=1e-6" in note for note in report.notes)
    ours, pixels = backbone(report.data["backbone"], state), image(64, 64)
    theirs = features(network, pixels)
    assert difference(run(ours, pixels), theirs) > TOLERANCE

    for block in (block for stage in ours.layers for block in stage):
        block.norm1.eps = block.norm2.eps = 1e-6
    assert_same_features(run(ours, pixels), theirs)


def test_mmseg_masks_padding_of_both_directions(tmp_path: Path) -> None:
    network = twins(_SVT)
    state, report = converted("twins", network.state_dict(), tmp_path)
    assert any("masks them" in note for note in report.notes)
    pixels = image(96, 96)
    ours = run(without_norms(report.data["backbone"], state), pixels)
    assert difference(ours[:1], features(network, pixels)[:1]) > 100 * TOLERANCE


def test_timm_cuts_off_what_mmseg_pads(tmp_path: Path) -> None:
    network = twins(_PCPVT)
    state, report = converted("twins", network.state_dict(), tmp_path)
    assert any("cuts off" in note for note in report.notes)
    pixels = image(70, 64)
    ours, theirs = run(backbone(report.data["backbone"], state), pixels), features(network, pixels)
    assert ours[0].shape[2:] == (18, 16)
    assert theirs[0].shape[2:] == (17, 16)


@pytest.mark.parametrize("kind", ["pcpvt", "svt"])
@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_every_published_size_is_known_by_its_name(
    kind: str, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = library("timm")
    assert len(timm.list_models("twins_*")) == 6
    with torch.device("meta"):
        network = timm.create_model(f"twins_{kind}_{size}")
        state = network.state_dict()
        plan = best_plan(provider.layouts, state)
        assert plan is not None
        result = apply_plan(plan, state)
    assert plan.complete
    assert plan.layout.name == kind
    shapes = {key: tuple(tensor.shape) for key, tensor in result.items()}
    variant = provider.describe(Shapes(shapes))
    # mmseg reads numbers from a linspace, which the meta device has none of
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
    assert mmseg_shapes(variant.backbone) == shapes
    assert variant.name == f"Twins-{kind.upper()}-{size[0].upper()}"
    assert variant.notes == ()
    heads = [stage[0].attn.num_heads for stage in network.blocks]
    ratios = [getattr(stage[-1].attn, "sr_ratio", 1) for stage in network.blocks]
    assert variant.backbone["num_heads"] == heads
    assert variant.backbone["sr_ratios"] == ratios


def test_assumptions_on_an_unknown_network_are_notes(tmp_path: Path) -> None:
    _, pcpvt = converted("twins", twins(_PCPVT).state_dict(), tmp_path)
    _, svt = converted("twins", twins(_SVT).state_dict(), tmp_path)
    assert any("heads of 64 channels are assumed" in note for note in pcpvt.notes)
    assert any("heads of 32 channels are assumed" in note for note in svt.notes)
    assert any("windows of 7 x 7 are assumed" in note for note in svt.notes)
    assert not any("windows of 7" in note for note in pcpvt.notes)


@pytest.mark.parametrize("layout", [layout.name for layout in provider.layouts])
def test_reverse_gives_the_same_bits(layout: str, tmp_path: Path) -> None:
    assert_reversible("twins", layout, whole(layout), tmp_path)


@pytest.mark.parametrize("layout", ["pcpvt", "svt"])
def test_reverse_of_a_classifier_gives_a_classifier_by_default(layout: str, tmp_path: Path) -> None:
    given = without(whole(layout), "head.")
    ours, _ = converted("twins", given, tmp_path / "there")
    back, report = converted("twins", ours, tmp_path / "back", reverse=True)
    assert report.data["layout"] == layout
    assert back.keys() == (without(given, "norm.") if layout == "pcpvt" else given).keys()


@pytest.mark.parametrize("layout", [layout.name for layout in provider.layouts])
def test_no_tensor_is_lost_unnoticed(layout: str) -> None:
    assert unnoticed_losses("twins", whole(layout)) == []


@pytest.mark.parametrize(("kind", "settings"), [("pcpvt", _PCPVT), ("svt", _SVT)])
def test_mmsegs_own_script_gives_the_same_bits(kind: str, settings: dict[str, Any]) -> None:
    """On purpose otherwise: the old script keeps the classifier's ``norm`` under a name that mmseg does not
    have; here it is dropped (PCPVT) or the norm behind the last stage (SVT), and the other norms are made.
    """
    state = dict(twins(settings).state_dict())
    expected_state = mmseg_script("twins2mmseg").convert_twins(SimpleNamespace(model=kind), dict(state))
    plan = best_plan(provider.layouts, state)
    assert plan is not None
    ours = apply_plan(plan, state)

    norms = {f"norm_list.{stage}.{part}" for stage in range(4) for part in ("weight", "bias")}
    assert ours.keys() - expected_state.keys() == (norms if kind == "svt" else set())
    assert expected_state.keys() - ours.keys() == {"norm.weight", "norm.bias"}
    for name in ours.keys() & expected_state.keys():
        assert torch.equal(ours[name], expected_state[name]), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**_PCPVT, "embed_dims": (64, 96, 64, 128)}, "96 channels of a stage are no multiple of 64"),
        (
            {**_PCPVT, "mlp_ratios": (2.5, 3, 4, 1)},
            "160 hidden channels, mmseg.s Twins a multiple of its 64 channels",
        ),
    ],
)
def test_a_network_that_mmseg_cannot_build_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        converted("twins", twins(settings).state_dict(), tmp_path)


def test_attentions_that_do_not_alternate_are_refused(tmp_path: Path) -> None:
    """Stage 2 of three blocks, its second one gone and the third in its place."""
    two = without(whole("svt"), "blocks.2.1.")
    third = {name.replace("blocks.2.2.", "blocks.2.1."): tensor for name, tensor in two.items()}
    with pytest.raises(CheckpointError, match="block 1 of stage 2 has another kind of attention"):
        converted("twins", third, tmp_path)


@pytest.mark.parametrize("layout", ["pcpvt", "svt", "svt-segmentation"])
def test_a_file_cut_after_a_stage_is_refused(layout: str, tmp_path: Path) -> None:
    parts = ("patch_embeds.3.", "pos_block.3.", "blocks.3.", "norm_list.3.")
    with pytest.raises(CheckpointError, match="3 stages, where all published Twins have 4"):
        converted("twins", without(whole(layout), *parts), tmp_path)


@pytest.mark.parametrize(
    ("layout", "block"),
    [("pcpvt", "0.0"), ("pcpvt", "0.1"), ("pcpvt", "3.0"), ("svt", "0.0"), ("svt", "0.1"), ("svt", "3.1")],
)
def test_a_block_without_attention_is_refused(layout: str, block: str, tmp_path: Path) -> None:
    stage, number = block.split(".")
    with pytest.raises(CheckpointError, match=f"block {number} of stage {stage} has no attention"):
        converted("twins", without(whole(layout), f"blocks.{block}.attn."), tmp_path)


@pytest.mark.parametrize(
    ("layout", "name", "message"),
    [
        ("pcpvt", "blocks.2.1.mlp.fc1.bias", r"2\.1\.ffn\.layers\.0\.0\.bias is 7, that of block 0 256"),
        ("svt", "blocks.2.2.attn.qkv.bias", r"2\.2\.attn\.qkv\.bias is 7, that of block 0 192"),
    ],
)
def test_blocks_of_a_stage_that_differ_are_refused(
    layout: str, name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        converted("twins", {**whole(layout), name: torch.zeros(7)}, tmp_path)


@pytest.mark.parametrize("absent", [False, True])
def test_subsampling_that_differs_in_a_stage_is_refused(absent: bool, tmp_path: Path) -> None:
    state = {**whole("pcpvt"), "blocks.0.1.attn.sr.weight": torch.zeros(64, 64, 4, 4)}
    if absent:
        state = without(state, "blocks.0.1.attn.sr.", "blocks.0.1.attn.norm.")
    with pytest.raises(CheckpointError, match=r"blocks of stage 0 differ in attn\.sr"):
        converted("twins", state, tmp_path)


def test_keys_without_their_query_are_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing \(blocks\.0\.0\.attn\.kv\.bias\)"):
        converted("twins", without(whole("pcpvt"), "blocks.0.0.attn.kv.bias"), tmp_path)

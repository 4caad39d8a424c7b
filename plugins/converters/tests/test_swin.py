"""``convert_weights swin``: the same features as timm's and transformers' networks, stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
    saved,
    seeded,
)
from converters_support.mmseg_backbone import mmseg_shapes
from converters_support.mmseg_scripts import mmseg_script
from converters_support.swin_networks import (
    SMALL,
    STAGES,
    as_official,
    as_segmentation,
    features,
    in_memory,
    maskformer_network,
    own_norms,
    timm_features,
    timm_network,
    transformers_features,
    transformers_network,
    whole,
    without,
)
from segplug_converters.convert import apply_plan
from segplug_converters.families.swin import provider
from segplug_converters.matching import best_plan
from segplug_converters.shapes import Shapes
from segplug_mmseg.compat import import_mmseg, report_warnings

from segplug.errors import CheckpointError

Weights = Callable[[Any, Path], dict[str, torch.Tensor]]

_LAYOUTS = [layout.name for layout in provider.layouts]


@pytest.mark.parametrize(
    ("size", "settings"),
    [((128, 256), {}), ((64, 64), {}), ((128, 192), {"qkv_bias": False, "mlp_ratio": 2.5})],
)
def test_features_are_those_of_timm(size: tuple[int, int], settings: dict[str, Any], tmp_path: Path) -> None:
    network = timm_network(always_partition=True, **settings)
    state, report = converted("swin", network.state_dict(), tmp_path)
    assert report.data["layout"] == "timm"
    assert report.data["backbone"].get("qkv_bias", True) is settings.get("qkv_bias", True)
    assert report.data["backbone"]["mlp_ratio"] == settings.get("mlp_ratio", 4)
    pixels = image(*size)
    assert_same_features(features(report, state, pixels), timm_features(network, pixels))


def test_features_of_official_files_are_those_of_timm_which_reads_them(tmp_path: Path) -> None:
    """No package has the official network. timm reads its files, which confirms the names."""
    network = timm_network(always_partition=True)
    official = as_official(network.state_dict())
    from timm.models.swin_transformer import checkpoint_filter_fn

    network.load_state_dict(checkpoint_filter_fn(official, network), strict=True)
    state, report = converted("swin", official, tmp_path)
    assert report.data["layout"] == "official"
    pixels = image(128, 192)
    assert_same_features(features(report, state, pixels), timm_features(network, pixels))


def test_features_of_official_segmentation_files_have_their_own_norms(tmp_path: Path) -> None:
    network = timm_network(always_partition=True)
    file = {f"backbone.{name}": tensor for name, tensor in as_segmentation(network.state_dict()).items()}
    file["decode_head.conv_seg.weight"] = torch.zeros(2, 2, 1, 1)
    state, report = converted("swin", file, tmp_path)
    assert (report.data["layout"], report.data["prefix"]) == ("official-segmentation", "backbone.")
    pixels = image(128, 192)
    theirs = timm_features(network, pixels, own_norms())
    assert_same_features(features(report, state, pixels), theirs)


def test_the_map_of_absolute_positions_becomes_the_classifiers_sequence(tmp_path: Path) -> None:
    sequence = torch.arange(32 * 32 * 16.0).reshape(1, 32 * 32, 16)
    state = timm_network().state_dict()
    classifier, segmentation = as_official(state), as_segmentation(state)
    map_ = sequence.transpose(1, 2).reshape(1, 16, 32, 32).contiguous()
    ours, _ = converted("swin", {**classifier, "absolute_pos_embed": sequence}, tmp_path / "classifier")
    theirs, report = converted("swin", {**segmentation, "absolute_pos_embed": map_}, tmp_path / "map")
    assert report.data["layout"] == "official-segmentation"
    assert torch.equal(ours["absolute_pos_embed"], sequence)
    assert torch.equal(theirs["absolute_pos_embed"], sequence)


@pytest.mark.parametrize(("weights", "layout"), [(saved, "transformers"), (in_memory, "transformers-5")])
@pytest.mark.parametrize("size", [(160, 192), (150, 210)])
def test_features_are_those_of_transformers(
    weights: Weights, layout: str, size: tuple[int, int], tmp_path: Path
) -> None:
    network = transformers_network("SwinForImageClassification")
    state, report = converted("swin", weights(network, tmp_path), tmp_path)
    assert (report.data["layout"], report.data["prefix"]) == (layout, "swin.")
    pixels = image(*size)
    assert_same_features(features(report, state, pixels), transformers_features(network.swin, pixels, state))


@pytest.mark.parametrize(
    ("weights", "layout"), [(saved, "transformers-backbone"), (in_memory, "transformers-5-backbone")]
)
@pytest.mark.parametrize("stages", [STAGES, ["stage4"]])
def test_features_are_those_of_transformers_backbone(
    weights: Weights, layout: str, stages: list[str], tmp_path: Path
) -> None:
    network = transformers_network("SwinBackbone", out_features=stages)
    state, report = converted("swin", weights(network, tmp_path), tmp_path)
    assert report.data["layout"] == layout
    pixels = image(90, 128)
    ours = features(report, state, pixels)
    with torch.no_grad():
        theirs = network(pixels).feature_maps
    assert_same_features(ours[-len(theirs) :], theirs)


def test_a_whole_segmentation_network_of_transformers_is_read_as_its_backbone(tmp_path: Path) -> None:
    transformers = library("transformers")
    inner = transformers.SwinConfig(image_size=96, **SMALL, out_features=STAGES)
    settings = {"backbone_config": inner, "hidden_size": 16, "auxiliary_in_channels": 64}
    network = seeded(transformers.UperNetForSemanticSegmentation(transformers.UperNetConfig(**settings)))
    state, report = converted("swin", saved(network, tmp_path), tmp_path)
    assert (report.data["layout"], report.data["prefix"]) == ("transformers-backbone", "backbone.")
    pixels = image(96, 128)
    with torch.no_grad():
        theirs = network.backbone(pixels).feature_maps
    assert_same_features(features(report, state, pixels), theirs)


def test_features_are_those_of_maskformers_backbone(tmp_path: Path) -> None:
    network = maskformer_network()
    file = {f"model.encoder.{name}": tensor for name, tensor in saved(network, tmp_path).items()}
    file["model.decoder.weight"] = torch.zeros(1)
    state, report = converted("swin", file, tmp_path)
    assert report.data["layout"] == "transformers-maskformer"
    assert report.data["prefix"] == "model.encoder."
    pixels = image(150, 210)
    with torch.no_grad():
        theirs = network(pixels).feature_maps
    assert_same_features(features(report, state, pixels), theirs)


def test_pre_training_files_are_read_as_their_encoder(tmp_path: Path) -> None:
    """SimMIM's, which the official repository names so."""
    network = timm_network()
    official = without(as_official(network.state_dict()), "head.")
    file = {f"encoder.{name}": tensor for name, tensor in official.items()}
    file |= {"encoder.mask_token": torch.zeros(1, 1, 16), "decoder.0.weight": torch.zeros(8, 128, 1, 1)}
    state, report = converted("swin", file, tmp_path)
    assert (report.data["layout"], report.data["prefix"]) == ("official", "encoder.")
    assert provider.layout_of(file) == report.tables[-1].rows[0][1]
    assert {"encoder.mask_token", "decoder.0.weight"} <= {item["name"] for item in report.data["dropped"]}
    assert torch.equal(
        state["stages.0.blocks.0.norm1.weight"], file["encoder.layers.0.blocks.0.norm1.weight"]
    )


@pytest.mark.parametrize("weights", [saved, in_memory])
def test_features_with_absolute_positions_are_those_of_transformers(weights: Weights, tmp_path: Path) -> None:
    network = transformers_network("SwinForMaskedImageModeling", image_size=160, use_absolute_embeddings=True)
    state, report = converted("swin", weights(network, tmp_path), tmp_path)
    assert report.data["backbone"]["pretrain_img_size"] == 160
    assert "decoder.0.weight" in {item["name"] for item in report.data["dropped"]}
    pixels = image(160, 160)
    assert_same_features(features(report, state, pixels), transformers_features(network.swin, pixels, state))


def test_mmseg_cannot_read_absolute_positions_by_init_cfg_as_the_note_says(tmp_path: Path) -> None:
    official = {
        **as_official(timm_network().state_dict()),
        "absolute_pos_embed": torch.zeros(1, 32 * 32, 16),
    }
    state, report = converted("swin", official, tmp_path)
    assert any("load_from" in note for note in report.notes)
    features(report, state, image(128, 128))
    with pytest.raises(RuntimeError, match="size of tensor"):
        features(report, state, image(128, 160))

    import_mmseg()
    from mmseg.models import build_backbone

    start = {"type": "Pretrained", "checkpoint": str(tmp_path / "swin.pth")}
    network = build_backbone({**report.data["backbone"], "init_cfg": start})
    with report_warnings(), pytest.raises(ValueError, match="unpack"):
        network.init_weights()


@pytest.mark.parametrize("library_name", ["timm", "transformers"])
def test_a_classifier_does_not_shift_where_the_map_is_no_larger_than_the_window(
    library_name: str, tmp_path: Path
) -> None:
    pixels = image(128, 128)  # the last stage has maps of 4 x 4
    network: Any = timm_network() if library_name == "timm" else transformers_network("SwinModel")
    state, report = converted("swin", network.state_dict(), tmp_path)
    assert any("does not shift" in note for note in report.notes)
    ours = features(report, state, pixels)
    if library_name == "timm":
        theirs = timm_features(network, pixels)
    else:
        theirs = transformers_features(network, pixels, state)
    assert_same_features(ours[:-1], theirs[:-1])
    assert difference(ours[-1:], theirs[-1:]) > 100 * TOLERANCE


def test_timm_pads_after_its_shift(tmp_path: Path) -> None:
    network = timm_network(always_partition=True)
    state, report = converted("swin", network.state_dict(), tmp_path)
    assert any("before it pads" in note for note in report.notes)
    pixels = image(140, 156)
    ours, theirs = features(report, state, pixels), timm_features(network, pixels)
    assert difference(ours[:1], theirs[:1]) > 100 * TOLERANCE


_TIMM_NAMES = [
    f"swin_{size}_patch4_window{window}"
    for size in ("tiny", "small", "base", "large")
    for window in ("7_224", "12_384")
    if window == "7_224" or size in ("base", "large")
]


@pytest.mark.parametrize(
    ("name", "layout"),
    [*((name, "timm") for name in _TIMM_NAMES), *((name, "official") for name in _TIMM_NAMES[2:4])],
)
def test_every_published_size_is_known_by_its_name(
    name: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = library("timm")
    assert {each for each in timm.list_models("swin_*") if "s3" not in each} == set(_TIMM_NAMES)
    with torch.device("meta"):
        network = timm.create_model(name)
        state = network.state_dict() if layout == "timm" else as_official(network.state_dict())
        plan = best_plan(provider.layouts, state)
        assert plan is not None
        result = apply_plan(plan, state)
    assert plan.complete
    assert plan.layout.name == layout
    shapes = {key: tuple(tensor.shape) for key, tensor in result.items()}
    variant = provider.describe(Shapes(shapes))
    # mmseg reads numbers from a linspace, which the meta device cannot give
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
    assert mmseg_shapes(variant.backbone) == shapes
    _, size, _, window = name.split("_")[:4]
    assert variant.name == f"Swin-{size[0].upper()}, patch 4, window {window.removeprefix('window')}"
    assert variant.backbone["num_heads"] == [stage.blocks[0].attn.num_heads for stage in network.layers]


@pytest.mark.parametrize("layout", _LAYOUTS)
def test_reverse_gives_the_same_bits(layout: str, tmp_path: Path) -> None:
    assert_reversible("swin", layout, whole(layout, tmp_path), tmp_path)


@pytest.mark.parametrize("layout", ["official", "timm", "transformers"])
def test_reverse_of_a_classifier_gives_official_names_by_default(layout: str, tmp_path: Path) -> None:
    ours, _ = converted("swin", whole(layout, tmp_path), tmp_path / "there")
    back, report = converted("swin", ours, tmp_path / "back", reverse=True)
    assert report.data["layout"] == "official"
    assert torch.equal(back["norm.weight"], ours["norm3.weight"])
    assert not [name for name in back if name.startswith("norm0.")]


@pytest.mark.parametrize("layout", _LAYOUTS)
def test_lost_tensors_are_noticed(layout: str, tmp_path: Path) -> None:
    """Except for absolute positions, which few networks have."""
    state = whole(layout, tmp_path)
    rightly = [name for name in state if name.endswith(("absolute_pos_embed", "position_embeddings"))]
    assert set(unnoticed_losses("swin", state)) == set(rightly)


def test_mmsegs_own_script_gives_the_same_bits() -> None:
    """Except for intended differences: the script keeps ``attn_mask``, which mmseg does not have, and the
    classifier's ``norm`` under that name, which mmseg does not have; the norms of the other stages it lacks.
    """
    official = as_official(timm_network().state_dict())
    expected_state = mmseg_script("swin2mmseg").convert_swin(dict(official))
    plan = best_plan(provider.layouts, official)
    assert plan is not None
    ours = apply_plan(plan, official)

    norms = {f"norm{stage}.{part}" for stage in range(4) for part in ("weight", "bias")}
    assert ours.keys() - expected_state.keys() == norms
    assert expected_state.keys() - ours.keys() == {"norm.weight", "norm.bias", "stages.0.blocks.1.attn_mask"}
    for name in ours.keys() & expected_state.keys():
        assert torch.equal(ours[name], expected_state[name]), name
    assert torch.equal(ours["norm3.weight"], expected_state["norm.weight"])


def test_swin_v2_is_refused_with_the_names_that_it_has_and_lacks(tmp_path: Path) -> None:
    library("timm")
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    network = SwinTransformerV2(img_size=128, **SMALL)
    with pytest.raises(CheckpointError, match=r"logit_scale.* missing .*relative_position_bias_table"):
        converted("swin", network.state_dict(), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_size": (4, 4, 8, 4)}, "windows of 4 and 8, as in Swin-S3"),
        ({"window_size": (4, 2)}, "21 rows is for no square window"),
        ({"head_dim": 8}, "stage 0 has 16 channels, its attention 8"),
        ({"mlp_ratio": (4, 4, 2, 4)}, "stages differ in mlp_ratio"),
    ],
)
def test_a_network_that_mmseg_cannot_build_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        converted("swin", timm_network(**change).state_dict(), tmp_path)


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (lambda state: without(state, "layers.2.blocks.0."), r"lack stages\.2\.blocks\.0\.norm1\.weight"),
        (lambda state: without(state, "layers.3.blocks."), "3 stages, where all published Swin have 4"),
        (lambda state: without(state, "layers.3.", "norm.", "head."), "missing .*is the file whole"),
        (
            lambda state: {**state, "layers.2.blocks.1.mlp.fc1.bias": torch.ones(7)},
            r"stages\.2\.blocks\.1\.ffn\.layers\.0\.0\.bias is 7, that of block 0 256",
        ),
        (lambda state: without(as_official(state), "norm."), r"missing \(norm\.weight, norm\.bias\)"),
        (
            lambda state: without(as_segmentation(state), "norm"),
            r"missing \(norm<o>",
        ),
        (
            lambda state: {**as_official(state), "absolute_pos_embed": torch.zeros(1, 30, 16)},
            "30 positions, not those of a square image",
        ),
        (
            lambda state: {**as_segmentation(state), "absolute_pos_embed": torch.zeros(1, 16, 16)},
            "absolute_pos_embed cannot become absolute_pos_embed: it has 3 dimensions, not 4",
        ),
    ],
)
def test_a_damaged_file_is_refused(damaged: Callable[[State], State], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        converted("swin", damaged(timm_network().state_dict()), tmp_path)

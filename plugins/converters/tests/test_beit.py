"""BEiT's and MAE's layouts, each against the network of the library that writes it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from converters_support import beit_networks
from converters_support.conversion import State, assert_reversible, converted, unnoticed_losses
from converters_support.foreign import TOLERANCE, assert_same_features, difference, library, saved
from converters_support.mmseg_scripts import mmseg_script
from segplug_converters.convert import apply_plan
from segplug_converters.families.beit import describe, provider
from segplug_converters.matching import best_plan
from segplug_converters.plan import Plan
from segplug_converters.shapes import Shapes
from segplug_mmseg.compat import import_mmseg

from segplug.errors import CheckpointError, UsageError


def planned(names: State) -> Plan:
    plan = best_plan(provider.layouts, names)
    assert plan is not None
    return plan


@pytest.mark.parametrize("layout", beit_networks.ALL_KINDS)
def test_features_are_the_same(tmp_path: Path, layout: str) -> None:
    theirs, given = beit_networks.foreign(layout, tmp_path)
    state, report = converted("beit", given, tmp_path)
    assert report.data["layout"] == layout
    assert report.data["backbone"]["final_norm"] == (
        "shared" in layout or beit_networks.PRETRAINING in layout
    )
    assert_same_features(
        beit_networks.features(report.data["backbone"], state), beit_networks.block_outputs(theirs, 64)
    )


@pytest.mark.parametrize("pixels", [64, 96])
def test_mae_features_are_the_same(tmp_path: Path, pixels: int) -> None:
    theirs = beit_networks.timm_vit(img_size=pixels)
    state, report = converted("beit", theirs.state_dict(), tmp_path)
    assert (report.data["layout"], report.data["backbone"]["type"]) == ("mae", "MAE")
    assert_same_features(
        beit_networks.features(report.data["backbone"], state, pixels),
        beit_networks.block_outputs(theirs, pixels),
    )


@pytest.mark.parametrize("where", ["file", "memory"])
@pytest.mark.parametrize("kind", ["ViTMAEModel", "ViTMAEForPreTraining"])
def test_mae_of_transformers_gives_the_same(tmp_path: Path, kind: str, where: str) -> None:
    theirs = beit_networks.transformers_mae(kind)
    given = saved(theirs, tmp_path / "saved") if where == "file" else theirs.state_dict()
    state, report = converted("beit", given, tmp_path)
    assert report.data["layout"] == "mae-transformers" + ("" if where == "file" else "-5")
    assert report.data["prefix"] == ("vit." if kind == "ViTMAEForPreTraining" else "")
    assert (report.data["backbone"]["type"], report.data["backbone"]["final_norm"]) == ("MAE", True)
    in_order = torch.arange(16.0)[None]
    expected = beit_networks.block_outputs(theirs, 64, noise=in_order)
    assert_same_features(beit_networks.features(report.data["backbone"], state), expected)
    assert unnoticed_losses("beit", given) == []


def test_window_is_read_from_the_table(tmp_path: Path) -> None:
    theirs = beit_networks.timm_beit("timm", img_size=96)
    state, report = converted("beit", theirs.state_dict(), tmp_path)
    assert report.data["backbone"]["img_size"] == 96
    assert_same_features(
        beit_networks.features(report.data["backbone"], state, 96), beit_networks.block_outputs(theirs, 96)
    )


@pytest.mark.parametrize(
    ("build", "eps"),
    [
        (lambda: beit_networks.timm_beit("timm"), 1e-6),
        (beit_networks.timm_vit, 1e-6),
        (lambda: beit_networks.transformers_beit("transformers-5"), 1e-12),
    ],
)
def test_eps_matters_where_features_are_small(tmp_path: Path, build: Callable[[], Any], eps: float) -> None:
    """mmseg's default gives other features; the reported eps gives the same."""
    theirs = build()
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if name.endswith("cls_token") or "embed" in name:
                tensor.mul_(0.01)
    expected = beit_networks.block_outputs(theirs, 64)
    state, report = converted("beit", theirs.state_dict(), tmp_path)
    settings = report.data["backbone"]
    assert settings["norm_cfg"] == {"type": "LN", "eps": eps}
    assert any("in norm_cfg" in note for note in report.notes)
    default = {name: value for name, value in settings.items() if name != "norm_cfg"}
    assert difference(beit_networks.features(default, state), expected) > TOLERANCE
    assert_same_features(beit_networks.features(settings, state), expected)


def test_only_transformers_takes_images_of_another_size(tmp_path: Path) -> None:
    theirs = beit_networks.transformers_beit("transformers-5")
    state, report = converted("beit", theirs.state_dict(), tmp_path)
    assert any("mmseg's network takes no other" in note for note in report.notes)
    assert beit_networks.block_outputs(theirs, 96)[0].shape[2:] == (6, 6)
    with pytest.raises(RuntimeError, match="must match the size"):
        beit_networks.features(report.data["backbone"], state, 96)


@pytest.mark.parametrize("layout", beit_networks.ALL_KINDS)
def test_reverse_gives_the_same_bits(tmp_path: Path, layout: str) -> None:
    _, given = beit_networks.foreign(layout, tmp_path)
    assert_reversible("beit", layout, given, tmp_path)


@pytest.mark.parametrize("layout", beit_networks.ALL_KINDS)
def test_files_that_lost_any_tensor_are_refused(tmp_path: Path, layout: str) -> None:
    _, given = beit_networks.foreign(layout, tmp_path)
    assert unnoticed_losses("beit", given) == []


def test_mae_that_lost_any_tensor_is_refused() -> None:
    assert unnoticed_losses("beit", beit_networks.timm_vit().state_dict()) == []


@pytest.mark.parametrize("build", [lambda: beit_networks.timm_beit("timm"), beit_networks.timm_vit])
def test_mmseg_itself_cannot_resize(tmp_path: Path, build: Callable[[], Any]) -> None:
    state, report = converted("beit", build().state_dict(), tmp_path)
    assert any("with --check CONFIG" in note for note in report.notes)
    import_mmseg()
    from mmseg.models import build_backbone

    larger = build_backbone({**report.data["backbone"], "img_size": 96})
    with pytest.raises(NotImplementedError, match="interp2d"):
        larger.resize_rel_pos_embed(state)


def test_different_tables_cannot_be_converted_back_to_one(tmp_path: Path) -> None:
    ours, _ = converted("beit", beit_networks.timm_beit("timm").state_dict(), tmp_path)
    with pytest.raises(
        CheckpointError, match=r"layers\.0-2\.attn\.relative_position_bias_table cannot become"
    ):
        converted("beit", ours, tmp_path / "back", reverse=True, layout="timm-shared")


def test_mae_cannot_be_converted_back_to(tmp_path: Path) -> None:
    ours, _ = converted("beit", beit_networks.timm_vit().state_dict(), tmp_path)
    with pytest.raises(UsageError, match="cannot convert back to mae: mmseg's MAE learns scales"):
        converted("beit", ours, tmp_path / "back", reverse=True, layout="mae")


def test_authors_fine_tuned_file(tmp_path: Path) -> None:
    """It keeps the indices, which timm no longer does."""
    bare = beit_networks.timm_beit("timm").state_dict()
    index = torch.zeros(17, 17, dtype=torch.int64)
    indices = {f"blocks.{block}.attn.relative_position_index": index for block in range(beit_networks.DEPTH)}
    expected, _ = converted("beit", bare, tmp_path / "bare")
    state, _ = converted("beit", {**bare, **indices}, tmp_path / "whole")
    assert_same_tensors(state, expected)
    assert state["layers.0.attn.relative_position_index"].any()


def test_authors_pretrained_file(tmp_path: Path) -> None:
    """With BEiT v2's head for the class token, too."""
    bare = beit_networks.timm_beit("timm-shared", num_classes=0).state_dict()
    own = {
        "mask_token": torch.ones(1, 1, 64),
        "lm_head.weight": torch.ones(9, 64),
        "rel_pos_bias.relative_position_index": torch.zeros(17, 17, dtype=torch.int64),
        "cls_pt_layers.0.attn.q_bias": torch.ones(64),
        "cls_pt_norm.weight": torch.ones(64),
        "cls_pt_lm_head.weight": torch.ones(9, 64),
    }
    expected, _ = converted("beit", bare, tmp_path / "bare")
    state, report = converted("beit", {**bare, **own}, tmp_path / "whole")
    assert {item["name"] for item in report.data["dropped"]} == own.keys()
    assert_same_tensors(state, expected)


def test_mae_decoder_is_left_out(tmp_path: Path) -> None:
    bare = beit_networks.timm_vit(num_classes=0).state_dict()
    decoder = {
        "mask_token": torch.ones(1, 1, 32),
        "decoder_pos_embed": torch.ones(1, 17, 32),
        "decoder_embed.weight": torch.ones(32, 128),
        "decoder_blocks.0.attn.qkv.bias": torch.ones(96),
        "decoder_norm.weight": torch.ones(32),
        "decoder_pred.bias": torch.ones(768),
    }
    expected, _ = converted("beit", bare, tmp_path / "bare")
    state, report = converted("beit", {**bare, **decoder}, tmp_path / "whole")
    assert {item["why"] for item in report.data["dropped"]} == {"pre-training"}
    assert_same_tensors(state, expected)


@pytest.mark.parametrize("kind", ["BeitForSemanticSegmentation", "BeitForImageClassification"])
def test_heads_of_transformers_are_left_out(tmp_path: Path, kind: str) -> None:
    whole = beit_networks.transformers_beit("transformers", kind, out_indices=[0, 1, 2, 3])
    expected, _ = converted("beit", whole.beit.state_dict(), tmp_path / "bare")
    state, report = converted("beit", saved(whole, tmp_path), tmp_path / "whole")
    assert (report.data["layout"], report.data["prefix"]) == ("transformers", "beit.")
    assert_same_tensors(state, expected)


def test_neck_and_indices_of_transformers_are_left_out(tmp_path: Path) -> None:
    """Of a backbone, whose files have no prefix; older files hold the indices, too."""
    whole = beit_networks.transformers_beit(
        "transformers", "BeitBackbone", out_indices=[0, 1, 2, 3], add_fpn=True
    )
    bias = "attention.attention.relative_position_bias"
    index = torch.zeros(17, 17, dtype=torch.int64)
    indices = {
        f"encoder.layer.{block}.{bias}.relative_position_index": index for block in range(beit_networks.DEPTH)
    }
    expected, _ = converted("beit", whole.beit.state_dict(), tmp_path / "bare")
    state, report = converted("beit", {**saved(whole, tmp_path), **indices}, tmp_path / "whole")
    assert (report.data["layout"], report.data["prefix"]) == ("transformers", "")
    assert any(item["name"].startswith("fpn1.") for item in report.data["dropped"])
    assert_same_tensors(state, expected)


@pytest.mark.parametrize("build", [lambda: beit_networks.timm_beit("timm"), beit_networks.timm_vit])
def test_neck_of_a_segmentor_is_left_out(tmp_path: Path, build: Callable[[], Any]) -> None:
    """In the authors' files the backbone makes its maps of four sizes itself."""
    bare = build().state_dict()
    neck = {"fpn1.0.weight": torch.ones(64, 64, 2, 2), "fpn1.1.running_mean": torch.ones(64)}
    neck |= {"fpn1.1.num_batches_tracked": torch.tensor(1), "fpn2.0.bias": torch.ones(64)}
    given = {f"backbone.{name}": tensor for name, tensor in {**bare, **neck}.items()}
    given["decode_head.conv_seg.weight"] = torch.ones(5, 64, 1, 1)
    expected, _ = converted("beit", bare, tmp_path / "bare")
    state, report = converted("beit", given, tmp_path / "whole")
    assert report.data["prefix"] == "backbone."
    whys = {item["name"]: item["why"] for item in report.data["dropped"]}
    assert all("the segmentor's neck" in whys[f"backbone.{name}"] for name in neck)
    assert_same_tensors(state, expected)


def assert_same_tensors(ours: State, theirs: State) -> None:
    assert ours
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_mmsegs_own_script_gives_the_same_bits(tmp_path: Path) -> None:
    """For all tensors that it renames; it leaves the others in the file under names that mmseg lacks."""
    given = beit_networks.timm_beit("timm", global_pool="token").state_dict()
    expected_state = mmseg_script("beit2mmseg").convert_beit(given)
    state, _ = converted("beit", given, tmp_path)
    left = {"norm.weight", "norm.bias", "head.weight", "head.bias"}
    made = {name for name in state if name.endswith("relative_position_index")}
    assert expected_state.keys() - left == state.keys() - made - {"ln1.weight", "ln1.bias"}
    assert all(torch.equal(state[name], expected_state[name]) for name in expected_state.keys() - left)


def test_config_that_is_checked_gets_what_it_builds(tmp_path: Path) -> None:
    """Tables of its image size, and no norm at the end unless it has one."""
    config = tmp_path / "config.py"
    config.write_text(CONFIG)
    given = beit_networks.timm_beit("timm-shared").state_dict()
    state, report = converted("beit", given, tmp_path, check=str(config))
    check = report.data["check"]
    assert check["left_out"] == ["ln1.weight", "ln1.bias"]
    tables = [each["name"] for each in check["resized"] if each["name"].endswith("table")]
    assert tables == [
        f"layers.{block}.attn.relative_position_bias_table" for block in range(beit_networks.DEPTH)
    ]
    settings = {**report.data["backbone"], "img_size": 96, "final_norm": False}
    assert len(beit_networks.features(settings, state, 96)) == beit_networks.DEPTH


CONFIG = """
model = dict(
    type="EncoderDecoder",
    backbone=dict(
        type="BEiT", img_size=(96, 96), embed_dims=64, num_layers=3, num_heads=4, out_indices=(0, 2)
    ),
    decode_head=dict(type="FCNHead", in_channels=64, channels=8, num_convs=1, num_classes=2),
    test_cfg=dict(mode="whole"),
)
"""

PUBLISHED = {
    "beit_base_patch16_224": "BEiT-B/16 at 224 pixels",
    "beit_base_patch16_384": "BEiT-B/16 at 384 pixels",
    "beit_large_patch16_224": "BEiT-L/16 at 224 pixels",
    "beit_large_patch16_384": "BEiT-L/16 at 384 pixels",
    "beit_large_patch16_512": "BEiT-L/16 at 512 pixels",
    "beitv2_base_patch16_224": "BEiT-B/16 at 224 pixels",
    "beitv2_large_patch16_224": "BEiT-L/16 at 224 pixels",
    "vit_base_patch16_224.mae": "MAE-B/16 at 224 pixels",
    "vit_large_patch16_224.mae": "MAE-L/16 at 224 pixels",
    "vit_huge_patch14_224.mae": "MAE-H/14 at 224 pixels",
}


def meta_state(name: str) -> State:
    """Names and shapes of a network of timm, without memory for values."""
    with torch.device("meta"):
        network: torch.nn.Module = library("timm").create_model(name)
    return network.state_dict()


def test_every_beit_of_timm_is_tried() -> None:
    timm = library("timm")
    names = [*timm.list_models("beit_*"), *timm.list_models("beitv2_*")]
    assert set(names) == {name for name in PUBLISHED if name.startswith("beit")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Down to the shapes in the backbone that is reported."""
    import_mmseg()
    from mmseg.models import build_backbone

    given = meta_state(name)
    plan = planned(given)
    assert plan.complete
    shapes = {name: tensor.shape for name, tensor in apply_plan(plan, given).items()}
    variant = describe(Shapes(shapes))
    assert (variant.name, variant.notes) == (PUBLISHED[name], ())
    # The network reads numbers from a tensor while it is built: how many paths each block drops.
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        wanted = build_backbone(dict(variant.backbone)).state_dict()
    assert shapes == {name: tensor.shape for name, tensor in wanted.items()}


@pytest.mark.parametrize(
    ("name", "left_over"),
    [
        ("beit3_base_patch16_224", "blocks.0.attn.norm.weight"),
        ("eva_giant_patch14_224", "blocks.0.gamma_1"),
        ("eva02_tiny_patch14_224", "blocks.0.gamma_1"),
        ("deit3_small_patch16_224", "blocks.0.ls1.gamma"),
    ],
)
def test_related_networks_are_refused(name: str, left_over: str) -> None:
    plan = planned(meta_state(name))
    assert left_over in (*plan.unknown, *plan.missing)


def without(state: State, *parts: str) -> State:
    return {name: tensor for name, tensor in state.items() if not any(part in name for part in parts)}


def in_one_row(network: torch.nn.Module, *names: str) -> State:
    return {name: t.flatten() if name in names else t for name, t in network.state_dict().items()}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: without(beit_networks.timm_beit("timm").state_dict(), "blocks.1."),
            "lack layers.1.ffn.layers.1.weight, but",
        ),
        (
            lambda: without(beit_networks.timm_beit("timm").state_dict(), "blocks.1.attn.relative"),
            "1 tensor missing .blocks.1.attn.relative_position_bias_table",
        ),
        (
            lambda: without(beit_networks.timm_beit("timm-shared").state_dict(), "norm.bias"),
            "1 tensor missing .norm.bias",
        ),
        (
            lambda: without(beit_networks.timm_beit("timm-shared").state_dict(), "rel_pos_bias"),
            "tensors? missing .*relative_position_bias_table",
        ),
        (
            lambda: beit_networks.timm_beit("timm", img_size=(64, 96)).state_dict(),
            "a table of 80 relative positions is for no square image",
        ),
        (
            lambda: beit_networks.timm_vit(img_size=(64, 96)).state_dict(),
            "pos_embed has positions of 24 patches, not those of a square image",
        ),
        (lambda: in_one_row(beit_networks.timm_vit(), "pos_embed"), "pos_embed has 1 dimensions, not 3"),
        (
            lambda: in_one_row(beit_networks.timm_beit("timm"), "blocks.1.attn.qkv.weight"),
            "layers.1.attn.qkv.weight is 12288, that of block 0 192x64",
        ),
        (lambda: beit_networks.timm_vit(embed_dim=96).state_dict(), "96 channels are no multiple of 64"),
        (
            lambda: beit_networks.timm_beit("timm", mlp_ratio=2.5).state_dict(),
            "160 hidden channels do not fit",
        ),
        (
            lambda: beit_networks.timm_beit("timm", use_shared_rel_pos_bias=True).state_dict(),
            "1 tensor that no rule knows .rel_pos_bias.relative_position_bias_table",
        ),
        (
            lambda: beit_networks.timm_beit("timm", use_abs_pos_emb=True).state_dict(),
            "1 tensor that no rule knows .pos_embed",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, build: Callable[[], State], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        converted("beit", build(), tmp_path)


def test_settings_that_weights_do_not_hold_are_assumed_in_a_note(tmp_path: Path) -> None:
    _, report = converted("beit", beit_networks.timm_vit().state_dict(), tmp_path)
    assert report.data["variant"] == "MAE, 128 channels, 3 blocks, patch 16, at 64 pixels"
    assert (
        "the number of heads cannot be read from the weights: 2 is assumed, one for 64 channels"
        in report.notes
    )

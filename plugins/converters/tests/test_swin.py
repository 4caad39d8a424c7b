"""``convert_weights swin``: the same features as timm's and transformers' networks, stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from segplug_converters.convert import carry_out
from segplug_converters.families.swin import provider
from segplug_converters.layout import Shapes
from segplug_converters.recognise import best_plan
from segplug_mmseg.compat import import_mmseg, quiet

from plugins.converters.tests.conversion import State, assert_comes_back, converted
from plugins.converters.tests.foreign import TOLERANCE, assert_same_features, image, library, seeded
from plugins.converters.tests.judges import old_script
from plugins.converters.tests.outputs import meta_shapes, of_mmseg
from segplug.errors import CheckpointError

_SMALL: dict[str, Any] = {
    "embed_dim": 16,
    "depths": (2, 1, 2, 2),
    "num_heads": (1, 2, 4, 8),
    "window_size": 4,
}
_WIDTHS = (16, 32, 64, 128)


def timm_network(size: int = 128, **settings: Any) -> torch.nn.Module:
    library("timm")
    from timm.models.swin_transformer import SwinTransformer

    return seeded(SwinTransformer(img_size=size, dynamic_img_size=True, num_classes=3, **_SMALL, **settings))


def timm_features(network: Any, pixels: torch.Tensor, norms: State | None = None) -> list[torch.Tensor]:
    """What every stage gives out, normalised by ``norms``, or new norms and the classifier's."""
    with torch.no_grad():
        stages = network.forward_intermediates(pixels, intermediates_only=True)
    last = network.norm.state_dict()
    given = norms or {"norm3.weight": last["weight"], "norm3.bias": last["bias"]}
    return [normalised(stage, given, number) for number, stage in enumerate(stages)]


def normalised(maps: torch.Tensor, norms: State, stage: int) -> torch.Tensor:
    weight, bias = norms.get(f"norm{stage}.weight"), norms.get(f"norm{stage}.bias")
    last = torch.nn.functional.layer_norm(maps.permute(0, 2, 3, 1), maps.shape[1:2], weight, bias)
    return last.permute(0, 3, 1, 2)


def as_official(state: State, size: int = 128) -> dict[str, torch.Tensor]:
    """timm's weights as the official repository names them, with the constants that its files hold."""
    library("timm")
    from timm.models.swin_transformer import get_relative_position_index

    official: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        parts = name.replace("head.fc.", "head.").split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        official[".".join(parts)] = tensor.clone()
        if name.endswith("relative_position_bias_table"):
            official[name.replace("bias_table", "index")] = get_relative_position_index(4, 4)
    windows = (size // 4 // 4) ** 2
    official["layers.0.blocks.1.attn_mask"] = torch.zeros(windows, 16, 16)
    return official


def own_norms() -> dict[str, torch.Tensor]:
    """Weights for the norms of all stages."""
    norms = torch.nn.ModuleDict({f"norm{k}": torch.nn.LayerNorm(width) for k, width in enumerate(_WIDTHS)})
    return dict(seeded(norms, seed=3).state_dict())


def transformers_network(kind: str, **settings: Any) -> Any:
    transformers = library("transformers")
    config = transformers.SwinConfig(**{"image_size": 96, **_SMALL, **settings}, num_labels=3)
    return seeded(getattr(transformers, kind)(config))


def saved(network: Any, folder: Path) -> dict[str, torch.Tensor]:
    """The weights under the names that they have in the file."""
    from safetensors.torch import load_file

    network.save_pretrained(folder)
    return dict(load_file(folder / "model.safetensors"))


def in_memory(network: Any, folder: Path) -> dict[str, torch.Tensor]:
    return dict(network.state_dict())


Weights = Callable[[Any, Path], dict[str, torch.Tensor]]


@pytest.mark.parametrize("size", [(128, 256), (64, 64)])
def test_features_are_those_of_timm(size: tuple[int, int], tmp_path: Path) -> None:
    network = timm_network(always_partition=True)
    state, report = converted("swin", network.state_dict(), tmp_path)
    assert report.data["layout"] == "timm"
    pixels = image(*size)
    assert_same_features(of_mmseg(report.data["backbone"], state, pixels), timm_features(network, pixels))


def test_features_are_those_of_timm_without_bias(tmp_path: Path) -> None:
    network = timm_network(always_partition=True, qkv_bias=False, mlp_ratio=2.5)
    state, report = converted("swin", network.state_dict(), tmp_path)
    assert report.data["backbone"]["qkv_bias"] is False
    assert report.data["backbone"]["mlp_ratio"] == 2.5
    pixels = image(128, 192)
    assert_same_features(of_mmseg(report.data["backbone"], state, pixels), timm_features(network, pixels))


def test_features_of_official_files_are_those_of_timm_which_reads_them(tmp_path: Path) -> None:
    """No package holds the official network. timm reads its files: it vouches for the names."""
    network = timm_network(always_partition=True)
    official = as_official(network.state_dict())
    from timm.models.swin_transformer import checkpoint_filter_fn

    network.load_state_dict(checkpoint_filter_fn(official, network), strict=True)
    state, report = converted("swin", official, tmp_path)
    assert report.data["layout"] == "official"
    pixels = image(128, 192)
    assert_same_features(of_mmseg(report.data["backbone"], state, pixels), timm_features(network, pixels))


def test_features_of_official_segmentation_files_have_their_own_norms(tmp_path: Path) -> None:
    network = timm_network(always_partition=True)
    norms = own_norms()
    official = {
        k: v for k, v in as_official(network.state_dict()).items() if not k.startswith(("norm", "head"))
    }
    file = {f"backbone.{name}": tensor for name, tensor in {**official, **norms}.items()}
    file["decode_head.conv_seg.weight"] = torch.zeros(2, 2, 1, 1)
    state, report = converted("swin", file, tmp_path)
    assert (report.data["layout"], report.data["prefix"]) == ("official-segmentation", "backbone.")
    pixels = image(128, 192)
    ours = of_mmseg(report.data["backbone"], state, pixels)
    assert_same_features(ours, timm_features(network, pixels, norms))


def test_the_map_of_absolute_positions_becomes_the_classifiers_sequence(tmp_path: Path) -> None:
    sequence = torch.arange(32 * 32 * 16.0).reshape(1, 32 * 32, 16)
    official = as_official(timm_network().state_dict())
    bare = {k: v for k, v in official.items() if not k.startswith(("norm", "head"))}
    map_ = sequence.transpose(1, 2).reshape(1, 16, 32, 32).contiguous()
    ours, _ = converted("swin", {**official, "absolute_pos_embed": sequence}, tmp_path / "classifier")
    theirs, report = converted("swin", {**bare, **own_norms(), "absolute_pos_embed": map_}, tmp_path / "map")
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
    assert_same_features(
        of_mmseg(report.data["backbone"], state, pixels), transformers_features(network.swin, pixels, state)
    )


def transformers_features(network: Any, pixels: torch.Tensor, norms: State) -> list[torch.Tensor]:
    """What every stage gives out before its downsampling, normalised."""
    stages: list[torch.Tensor] = []
    hooks = [
        stage.blocks[-1].register_forward_hook(lambda module, inputs, output: stages.append(output[0]))
        for stage in network.encoder.layers
    ]
    with torch.no_grad():
        last = network(pixels).last_hidden_state
    for hook in hooks:
        hook.remove()
    height, width = (-(-side // 4) for side in pixels.shape[2:])
    features = []
    for number, stage in enumerate(stages):
        maps = stage.transpose(1, 2).reshape(1, -1, height, width)
        features.append(normalised(maps, norms, number))
        height, width = -(-height // 2), -(-width // 2)
    assert torch.allclose(features[-1].flatten(2).transpose(1, 2), last, atol=1e-5)
    return features


@pytest.mark.parametrize(
    ("weights", "layout"), [(saved, "transformers-backbone"), (in_memory, "transformers-5-backbone")]
)
@pytest.mark.parametrize("stages", [["stage1", "stage2", "stage3", "stage4"], ["stage4"]])
def test_features_are_those_of_transformers_backbone(
    weights: Weights, layout: str, stages: list[str], tmp_path: Path
) -> None:
    network = transformers_network("SwinBackbone", out_features=stages)
    state, report = converted("swin", weights(network, tmp_path), tmp_path)
    assert report.data["layout"] == layout
    pixels = image(90, 128)
    ours = of_mmseg(report.data["backbone"], state, pixels)
    with torch.no_grad():
        theirs = network(pixels).feature_maps
    assert_same_features(ours[-len(theirs) :], theirs)


def test_a_whole_segmentation_network_of_transformers_is_read_as_its_backbone(tmp_path: Path) -> None:
    transformers = library("transformers")
    stages = ["stage1", "stage2", "stage3", "stage4"]
    inner = transformers.SwinConfig(image_size=96, **_SMALL, out_features=stages)
    settings = {"backbone_config": inner, "hidden_size": 16, "auxiliary_in_channels": 64}
    network = seeded(transformers.UperNetForSemanticSegmentation(transformers.UperNetConfig(**settings)))
    state, report = converted("swin", saved(network, tmp_path), tmp_path)
    assert (report.data["layout"], report.data["prefix"]) == ("transformers-backbone", "backbone.")
    pixels = image(96, 128)
    with torch.no_grad():
        theirs = network.backbone(pixels).feature_maps
    assert_same_features(of_mmseg(report.data["backbone"], state, pixels), theirs)


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
    assert_same_features(of_mmseg(report.data["backbone"], state, pixels), theirs)


def maskformer_network() -> Any:
    transformers = library("transformers")
    stages = ["stage1", "stage2", "stage3", "stage4"]
    config = transformers.MaskFormerSwinConfig(image_size=96, **_SMALL, out_features=stages)
    return seeded(transformers.MaskFormerSwinBackbone(config))


def test_pre_training_files_are_read_as_their_encoder(tmp_path: Path) -> None:
    """SimMIM's, which the official repository names so."""
    network = timm_network()
    official = {k: v for k, v in as_official(network.state_dict()).items() if not k.startswith("head")}
    file = {f"encoder.{name}": tensor for name, tensor in official.items()}
    file |= {"encoder.mask_token": torch.zeros(1, 1, 16), "decoder.0.weight": torch.zeros(8, 128, 1, 1)}
    state, report = converted("swin", file, tmp_path)
    assert (report.data["layout"], report.data["prefix"]) == ("official", "encoder.")
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
    assert_same_features(
        of_mmseg(report.data["backbone"], state, pixels), transformers_features(network.swin, pixels, state)
    )


def test_mmseg_cannot_read_absolute_positions_by_init_cfg_as_the_note_says(tmp_path: Path) -> None:
    official = {
        **as_official(timm_network().state_dict()),
        "absolute_pos_embed": torch.zeros(1, 32 * 32, 16),
    }
    state, report = converted("swin", official, tmp_path)
    assert any("load_from" in note for note in report.notes)
    of_mmseg(report.data["backbone"], state, image(128, 128))
    with pytest.raises(RuntimeError, match="size of tensor"):
        of_mmseg(report.data["backbone"], state, image(128, 160))

    import_mmseg()
    from mmseg.models import build_backbone

    start = {"type": "Pretrained", "checkpoint": str(tmp_path / "swin.pth")}
    network = build_backbone({**report.data["backbone"], "init_cfg": start})
    with quiet(), pytest.raises(ValueError, match="unpack"):
        network.init_weights()


def test_a_classifier_of_timm_does_not_shift_where_the_map_is_no_larger_than_the_window(
    tmp_path: Path,
) -> None:
    network = timm_network(size=128)  # the last stage has maps of 4 x 4
    pixels = image(128, 128)
    assert_the_last_stage_differs(network, timm_features(network, pixels), pixels, tmp_path)


def test_a_classifier_of_transformers_does_not_shift_there_either(tmp_path: Path) -> None:
    network = transformers_network("SwinModel")
    pixels = image(128, 128)
    state, _ = converted("swin", network.state_dict(), tmp_path)
    theirs = transformers_features(network, pixels, state)
    assert_the_last_stage_differs(network, theirs, pixels, tmp_path)


def assert_the_last_stage_differs(
    network: torch.nn.Module, theirs: list[torch.Tensor], pixels: torch.Tensor, folder: Path
) -> None:
    state, report = converted("swin", network.state_dict(), folder)
    assert any("does not shift" in note for note in report.notes)
    ours = of_mmseg(report.data["backbone"], state, pixels)
    assert_same_features(ours[:-1], theirs[:-1])
    assert difference(ours[-1], theirs[-1]) > 100 * TOLERANCE


def test_timm_pads_after_its_shift(tmp_path: Path) -> None:
    network = timm_network(always_partition=True)
    state, report = converted("swin", network.state_dict(), tmp_path)
    assert any("before it pads" in note for note in report.notes)
    pixels = image(140, 156)
    ours, theirs = of_mmseg(report.data["backbone"], state, pixels), timm_features(network, pixels)
    assert difference(ours[0], theirs[0]) > 100 * TOLERANCE


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def _timm_names() -> list[str]:
    return [
        "swin_tiny_patch4_window7_224",
        "swin_small_patch4_window7_224",
        "swin_base_patch4_window7_224",
        "swin_base_patch4_window12_384",
        "swin_large_patch4_window7_224",
        "swin_large_patch4_window12_384",
    ]


@pytest.mark.parametrize(
    ("name", "layout"),
    [*((name, "timm") for name in _timm_names()), *((name, "official") for name in _timm_names()[2:4])],
)
def test_every_published_size_is_known_by_its_name(
    name: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = library("timm")
    assert {each for each in timm.list_models("swin_*") if "s3" not in each} == set(_timm_names())
    with torch.device("meta"):
        network = timm.create_model(name)
        state = network.state_dict() if layout == "timm" else as_official(network.state_dict())
        plan = best_plan(provider.layouts, state)
        assert plan is not None
        result = carry_out(plan, state)
    assert plan.complete
    assert plan.layout.name == layout
    shapes = {key: tuple(tensor.shape) for key, tensor in result.items()}
    variant = provider.describe(Shapes(shapes))
    # mmseg reads numbers from a linspace, which the meta device has none of
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))
    assert meta_shapes(variant.backbone) == shapes
    _, size, _, window = name.split("_")[:4]
    assert variant.name == f"Swin-{size[0].upper()}, patch 4, window {window.removeprefix('window')}"
    assert variant.backbone["num_heads"] == [stage.blocks[0].attn.num_heads for stage in network.layers]


@pytest.mark.parametrize(
    "layout",
    [layout.name for layout in provider.layouts],
)
def test_the_way_back_gives_the_same_bits(layout: str, tmp_path: Path) -> None:
    assert_comes_back("swin", layout, _whole(layout, tmp_path), tmp_path)


def _whole(layout: str, folder: Path) -> dict[str, torch.Tensor]:
    """A file of the layout that holds no other network."""
    if layout == "transformers-maskformer":
        return saved(maskformer_network(), folder)
    if layout.startswith("transformers"):
        kind = "SwinBackbone" if layout.endswith("backbone") else "SwinModel"
        settings = (
            {"out_features": ["stage1", "stage2", "stage3", "stage4"]} if kind == "SwinBackbone" else {}
        )
        network = transformers_network(kind, use_absolute_embeddings=True, **settings)
        return (in_memory if "5" in layout else saved)(network, folder)
    state = dict(timm_network().state_dict())
    if layout == "timm":
        return state
    official = as_official(state)
    if layout == "official":
        return {**official, "absolute_pos_embed": torch.arange(24 * 24 * 16.0).reshape(1, 24 * 24, 16)}
    bare = {k: v for k, v in official.items() if not k.startswith(("norm", "head"))}
    return {**bare, **own_norms(), "absolute_pos_embed": torch.arange(24 * 24 * 16.0).reshape(1, 16, 24, 24)}


def test_mmsegs_old_script_gives_the_same_bits() -> None:
    """On purpose otherwise: the old script keeps ``attn_mask``, for which mmseg has no place, and the
    classifier's ``norm`` under that name, which mmseg does not have; the norms of the other stages it lacks.
    """
    official = as_official(timm_network().state_dict())
    judge = old_script("swin2mmseg").convert_swin(dict(official))
    plan = best_plan(provider.layouts, official)
    assert plan is not None
    ours = carry_out(plan, official)

    norms = {f"norm{stage}.{part}" for stage in range(4) for part in ("weight", "bias")}
    assert ours.keys() - judge.keys() == norms
    assert judge.keys() - ours.keys() == {"norm.weight", "norm.bias", "stages.0.blocks.1.attn_mask"}
    for name in ours.keys() & judge.keys():
        assert torch.equal(ours[name], judge[name]), name
    assert torch.equal(ours["norm3.weight"], judge["norm.weight"])


def test_a_swin_with_windows_of_several_sizes_is_refused(tmp_path: Path) -> None:
    library("timm")
    from timm.models.swin_transformer import SwinTransformer

    network = SwinTransformer(img_size=128, **{**_SMALL, "window_size": (4, 4, 8, 4)})
    with pytest.raises(CheckpointError, match="windows of 4 and 8, as in Swin-S3"):
        converted("swin", network.state_dict(), tmp_path)


def test_swin_v2_is_refused_with_the_names_that_it_has_and_lacks(tmp_path: Path) -> None:
    library("timm")
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    network = SwinTransformerV2(img_size=128, **_SMALL)
    with pytest.raises(CheckpointError, match=r"logit_scale.* missing .*relative_position_bias_table"):
        converted("swin", network.state_dict(), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_size": (4, 2)}, "21 rows is of no square window"),
        ({"head_dim": 8}, "stage 0 has 16 channels, its attention 8"),
        ({"mlp_ratio": (4, 4, 2, 4)}, "stages differ in mlp_ratio"),
    ],
)
def test_a_network_that_mmseg_cannot_build_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    library("timm")
    from timm.models.swin_transformer import SwinTransformer

    network = SwinTransformer(img_size=128, **{**_SMALL, **change})
    with pytest.raises(CheckpointError, match=message):
        converted("swin", network.state_dict(), tmp_path)


def test_a_file_with_a_block_missing_is_refused(tmp_path: Path) -> None:
    state = {k: v for k, v in timm_network().state_dict().items() if not k.startswith("layers.2.blocks.0.")}
    with pytest.raises(CheckpointError, match=r"lack stages\.2\.blocks\.0\.norm1\.weight"):
        converted("swin", state, tmp_path)


def test_absolute_positions_of_no_square_image_are_refused(tmp_path: Path) -> None:
    official = {**as_official(timm_network().state_dict()), "absolute_pos_embed": torch.zeros(1, 30, 16)}
    with pytest.raises(CheckpointError, match="30 places, which is no square image"):
        converted("swin", official, tmp_path)

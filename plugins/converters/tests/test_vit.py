"""ViT and DeiT of timm and transformers compute in mmseg what they computed there."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from converters_support import vit_networks
from converters_support.conversion import assert_reversible, converted, unnoticed_losses
from converters_support.foreign import assert_same_features, image, library, outputs_of, saved
from converters_support.mmseg_scripts import mmseg_script
from segplug_converters.convert import apply_plan
from segplug_converters.families.vit import provider
from segplug_converters.matching import best_plan
from segplug_converters.shapes import Shapes, Variant

from segplug.errors import CheckpointError, UsageError


class TestTimm:
    @pytest.mark.parametrize(
        ("kind", "settings", "layout", "reported"),
        [
            ("vit_tiny_patch16_224", {}, "timm", {"num_heads": 3, "img_size": 64, "final_norm": True}),
            ("deit_tiny_patch16_224", {}, "timm", {"patch_size": 16, "num_layers": 3}),
            (
                "vit_small_patch8_224",
                {"in_chans": 4},
                "timm",
                {"patch_size": 8, "num_heads": 6, "in_channels": 4},
            ),
            ("vit_tiny_patch16_224", {"mlp_ratio": 3}, "timm", {"mlp_ratio": 3}),
            ("vit_tiny_patch16_224", {"qkv_bias": False}, "timm-no-bias", {"embed_dims": 192}),
        ],
    )
    def test_every_block_gives_the_same(
        self, kind: str, settings: dict[str, Any], layout: str, reported: dict[str, Any], tmp_path: Path
    ) -> None:
        network = vit_networks.timm_vit(kind, **settings)
        picture = image(64, 64, batch=2)[:, [0, 1, 2, 0][: settings.get("in_chans", 3)]]
        theirs = outputs_of([*network.blocks, network.norm], lambda: network(picture))
        state, report = converted("vit", network.state_dict(), tmp_path)
        assert report.data["layout"] == layout
        assert reported.items() <= report.data["backbone"].items()
        assert_same_features(vit_networks.tokens(report, state, picture), vit_networks.normed(theirs))

    def test_averaging_network_has_no_final_norm_of_patches(self, tmp_path: Path) -> None:
        network = vit_networks.timm_vit(global_pool="avg")
        theirs = outputs_of(network.blocks, lambda: network(image(64, 64)))
        state, report = converted("vit", network.state_dict(), tmp_path)
        assert "final_norm" not in report.data["backbone"]
        assert "fc_norm.weight" in {item["name"] for item in report.data["dropped"]}
        assert_same_features(vit_networks.tokens(report, state, image(64, 64)), theirs)

    def test_positions_of_another_size(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        network = vit_networks.timm_vit(dynamic_img_size=True)
        picture = image(48, 80)
        modules = [*network.blocks, network.norm]
        state, report = converted("vit", network.state_dict(), tmp_path)
        assert any("antialiasing" in note for note in report.notes)
        ours = vit_networks.tokens(report, state, picture)
        assert vit_networks.differ(ours, vit_networks.normed(outputs_of(modules, lambda: network(picture))))
        there = library("timm").models.vision_transformer
        plain = functools.partial(there.resample_abs_pos_embed, antialias=False)
        monkeypatch.setattr(there, "resample_abs_pos_embed", plain)
        assert_same_features(ours, vit_networks.normed(outputs_of(modules, lambda: network(picture))))

    def test_distilled_is_the_network_without_its_token(self, tmp_path: Path) -> None:
        network = vit_networks.timm_vit("deit_tiny_distilled_patch16_224")
        picture = image(64, 64)

        def without_token() -> None:
            both = network._pos_embed(network.patch_embed(picture))
            network.norm(network.blocks(torch.cat([both[:, :1], both[:, 2:]], dim=1)))

        modules = [*network.blocks, network.norm]
        state, report = converted("vit", network.state_dict(), tmp_path)
        ours = vit_networks.tokens(report, state, picture)
        assert_same_features(ours, vit_networks.normed(outputs_of(modules, without_token)))
        whole = vit_networks.normed(outputs_of(modules, lambda: network(picture)))
        assert vit_networks.differ(ours, [torch.cat([each[:, :1], each[:, 2:]], dim=1) for each in whole])
        assert report.data["layout"] == "timm-distilled"
        assert any("without this token" in note for note in report.notes)

    def test_pretraining_parts_are_dropped(self, tmp_path: Path) -> None:
        """MAE's own files hold its decoder beside the encoder, old files of timm a layer before the head."""
        state = vit_networks.timm_vit().state_dict()
        parts = ("mask_token", "decoder_pos_embed", "decoder_blocks.0.norm1.weight", "pre_logits.fc.weight")
        ours, report = converted("vit", {**state, **dict.fromkeys(parts, torch.zeros(1))}, tmp_path)
        assert set(parts) <= {item["name"] for item in report.data["dropped"]}
        assert ours.keys() == converted("vit", state, tmp_path / "plain")[0].keys()

    def test_default_eps_of_mmseg_would_differ(self, tmp_path: Path) -> None:
        network = vit_networks.timm_vit()
        with torch.no_grad():  # as small as embeddings of trained networks are
            for tensor in (network.patch_embed.proj.weight, network.patch_embed.proj.bias, network.pos_embed):
                tensor.mul_(0.05)
        theirs = vit_networks.normed(
            outputs_of([*network.blocks, network.norm], lambda: network(image(64, 64)))
        )
        state, report = converted("vit", network.state_dict(), tmp_path)
        assert_same_features(vit_networks.tokens(report, state, image(64, 64)), theirs)
        assert vit_networks.differ(
            vit_networks.tokens(report, state, image(64, 64), norm_cfg={"type": "LN"}), theirs
        )

    def test_mmsegs_own_script_gives_the_same_bits(self, tmp_path: Path) -> None:
        state = vit_networks.timm_vit("deit_tiny_patch16_224").state_dict()
        vit_networks.assert_same_bits(
            converted("vit", state, tmp_path)[0], mmseg_script("vit2mmseg").convert_vit(state)
        )


class TestTransformers:
    @pytest.mark.parametrize("where", ["file", "memory"])
    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("ViTModel", {}),
            ("ViTForImageClassification", {}),
            ("ViTForMaskedImageModeling", {}),
            ("ViTForImageClassification", {"qkv_bias": False}),
        ],
    )
    def test_every_block_gives_the_same(
        self, kind: str, settings: dict[str, Any], where: str, tmp_path: Path
    ) -> None:
        network = vit_networks.transformers_vit(kind, **settings)
        core = getattr(network, "vit", network)
        state, report = converted("vit", _state(network, where, tmp_path), tmp_path, suffix=".safetensors")
        ending = "-no-bias" if settings else ""
        assert report.data["layout"] == ("transformers" if where == "file" else "transformers-5") + ending
        for size in ((64, 64), (48, 80)):
            run = functools.partial(core, image(*size), interpolate_pos_encoding=True)
            theirs = vit_networks.normed(outputs_of([*core.layers, core.layernorm], run))
            assert_same_features(vit_networks.tokens(report, state, image(*size)), theirs)

    @pytest.mark.parametrize("where", ["file", "memory"])
    @pytest.mark.parametrize("kind", ["DeiTModel", "DeiTForImageClassificationWithTeacher"])
    def test_distilled_is_the_network_without_its_token(self, kind: str, where: str, tmp_path: Path) -> None:
        network = vit_networks.transformers_vit(kind, "DeiTConfig")
        core = getattr(network, "deit", network)

        def without_token() -> None:
            both = core.embeddings(image(64, 64))
            tokens = torch.cat([both[:, :1], both[:, 2:]], dim=1)
            for layer in core.layers:
                tokens = layer(tokens)
            core.layernorm(tokens)

        theirs = vit_networks.normed(outputs_of([*core.layers, core.layernorm], without_token))
        state, report = converted("vit", _state(network, where, tmp_path), tmp_path)
        assert report.data["layout"].endswith("-distilled")
        assert_same_features(vit_networks.tokens(report, state, image(64, 64)), theirs)

    @pytest.mark.parametrize("where", ["file", "memory"])
    def test_masked_autoencoder(self, where: str, tmp_path: Path) -> None:
        decoder = {f"decoder_{name}": 32 for name in ("hidden_size", "intermediate_size")}
        decoder |= {"decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
        network = vit_networks.transformers_vit(
            "ViTMAEForPreTraining", "ViTMAEConfig", mask_ratio=0.0, **decoder
        )
        core, in_order = network.vit, torch.arange(16.0)[None]
        run = functools.partial(core, image(64, 64), noise=in_order)
        theirs = vit_networks.normed(outputs_of([*core.layers, core.layernorm], run))
        state, report = converted("vit", _state(network, where, tmp_path), tmp_path)
        assert_same_features(vit_networks.tokens(report, state, image(64, 64)), theirs)


def _state(network: torch.nn.Module, where: str, folder: Path) -> dict[str, torch.Tensor]:
    """The weights by the names that transformers gives them in its files, or has in memory."""
    if where == "memory":
        return dict(network.state_dict())
    return saved(network, folder / "saved")


class TestWayBack:
    def test_timm(self, tmp_path: Path) -> None:
        assert_reversible("vit", "timm", vit_networks.timm_vit().state_dict(), tmp_path)

    @pytest.mark.parametrize("where", ["file", "memory"])
    def test_transformers(self, where: str, tmp_path: Path) -> None:
        layout = "transformers" if where == "file" else "transformers-5"
        assert_reversible("vit", layout, _state(vit_networks.transformers_vit(), where, tmp_path), tmp_path)

    @pytest.mark.parametrize("kind", ["distilled", "no-bias"])
    def test_one_way_layouts_cannot_be_converted_back_to(self, kind: str, tmp_path: Path) -> None:
        state, _ = converted("vit", vit_networks.timm_vit().state_dict(), tmp_path)
        with pytest.raises(UsageError, match=f"cannot convert back to timm-{kind}: "):
            converted("vit", state, tmp_path, reverse=True, layout=f"timm-{kind}")


class TestRefused:
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"init_values": 1.0}, r"no rule knows \(blocks\.0-2\.ls1-2\.gamma\)"),
            ({"qk_norm": True}, r"no rule knows \(blocks\.0-2\.attn\.[qk]_norm"),
            ({"reg_tokens": 4}, r"no rule knows \(reg_token\)"),
            ({"pre_norm": True}, r"no rule knows \(norm_pre"),
            ({"class_token": False, "global_pool": "avg"}, r"missing \(cls_token\)"),
            ({"pos_embed": "none"}, r"missing \(pos_embed\)"),
            ({"no_embed_class": True}, "a pos_embed of 16 rows, none for the class token"),
            ({"mlp_ratio": 2.5}, "hidden layers of 480 channels: .* a multiple of its 192 channels"),
            ({"img_size": (64, 32)}, "a pos_embed of 9 rows"),
            ({"patch_size": (16, 32)}, "patches of 16x32 pixels"),
        ],
    )
    def test_what_mmseg_cannot_compute(self, settings: dict[str, Any], words: str, tmp_path: Path) -> None:
        state = vit_networks.timm_vit(**settings).state_dict()
        with pytest.raises(CheckpointError, match=words):
            converted("vit", state, tmp_path)
        assert not (tmp_path / "vit.pth").exists()

    def test_gates_that_have_the_names_of_layers(self, tmp_path: Path) -> None:
        gated = library("timm").layers.GluMlp
        state = vit_networks.timm_vit(mlp_layer=gated).state_dict()
        with pytest.raises(CheckpointError, match=r"a gated hidden layer \(768 channels, then 384\)"):
            converted("vit", state, tmp_path)

    @pytest.mark.parametrize("kind", ["Dinov2", "Dinov2WithRegisters", "DINOv3ViT"])
    def test_dino_of_transformers(self, kind: str, tmp_path: Path) -> None:
        network = vit_networks.transformers_vit(f"{kind}Model", f"{kind}Config")
        with pytest.raises(CheckpointError, match=r"holds no ViT in a known layout|no rule knows"):
            converted("vit", network.state_dict(), tmp_path)

    @pytest.mark.parametrize(
        "lost", ["blocks.1.attn.qkv.bias", "blocks.1.mlp.fc1.weight", "cls_token", "norm.bias"]
    )
    def test_files_that_lost_a_tensor(self, lost: str, tmp_path: Path) -> None:
        state = vit_networks.timm_vit().state_dict()
        del state[lost]
        with pytest.raises(CheckpointError, match=rf"1 tensor missing \({lost}\)"):
            converted("vit", state, tmp_path)

    @pytest.mark.parametrize("allow_unknown", [False, True])
    @pytest.mark.parametrize(
        "lost", [("1.attention.attention.key",), ("attention.query", "attention.key")], ids=["one", "most"]
    )
    def test_no_zeros_for_biases_that_are_lost(
        self, lost: tuple[str, ...], allow_unknown: bool, tmp_path: Path
    ) -> None:
        whole = saved(vit_networks.transformers_vit(), tmp_path / "saved")
        biases = tuple(f"{part}.bias" for part in lost)
        state = {name: tensor for name, tensor in whole.items() if not name.endswith(biases)}
        assert len(state) < len(whole)
        with pytest.raises(CheckpointError, match=r"tensors? missing \(encoder.*attention\.key\.bias"):
            converted("vit", state, tmp_path, allow_unknown=allow_unknown)

    @pytest.mark.parametrize("kind", ["timm", "timm-distilled", "timm-no-bias"])
    def test_timm_files_that_lost_any_tensor(self, kind: str) -> None:
        name = "deit_tiny_distilled_patch16_224" if "distilled" in kind else "vit_tiny_patch16_224"
        network = vit_networks.timm_vit(name, depth=2, qkv_bias="no-bias" not in kind)
        assert unnoticed_losses("vit", network.state_dict()) == []

    @pytest.mark.parametrize("where", ["file", "memory"])
    @pytest.mark.parametrize("kind", ["ViT", "DeiT", "no-bias"])
    def test_transformers_files_that_lost_any_tensor(self, kind: str, where: str, tmp_path: Path) -> None:
        name, settings = ("ViT", {"qkv_bias": False}) if kind == "no-bias" else (kind, {})
        network = vit_networks.transformers_vit(f"{name}Model", f"{name}Config", **settings)
        assert unnoticed_losses("vit", _state(network, where, tmp_path)) == []

    def test_blocks_that_differ(self, tmp_path: Path) -> None:
        state = vit_networks.timm_vit().state_dict()
        state["blocks.1.mlp.fc1.weight"] = torch.zeros(384, 192)
        with pytest.raises(CheckpointError, match=r"weight is 384x192, that of block 0 768x192"):
            converted("vit", state, tmp_path)

    @pytest.mark.parametrize("kind", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
    def test_positions_in_one_row(self, kind: str, tmp_path: Path) -> None:
        state = vit_networks.timm_vit(kind).state_dict()
        state["pos_embed"] = state["pos_embed"].flatten()
        with pytest.raises(CheckpointError, match=r"1 dimensions.* 3: image, tokens, channels"):
            converted("vit", state, tmp_path)

    def test_the_first_small_network_of_timm(self) -> None:
        """mmseg has no qk_scale; a network of the same size with biases is another."""
        size = {"embed_dim": 768, "depth": 8, "num_heads": 8, "mlp_ratio": 3}
        with torch.device("meta"):
            first, other = (
                library("timm").create_model("vit_small_patch16_224", qkv_bias=biases, **size)
                for biases in (False, True)
            )
        with pytest.raises(
            CheckpointError, match=r"first ViT-S, which scales attention by 768\*\*-0.5: mmseg"
        ):
            _variant(first)
        assert _variant(other)[1].name == "ViT, 768 channels, 8 blocks, patch 16"

    def test_a_distilled_file_without_its_token(self, tmp_path: Path) -> None:
        state = vit_networks.timm_vit("deit_tiny_distilled_patch16_224").state_dict()
        for name in ("dist_token", "head_dist.weight", "head_dist.bias"):
            del state[name]
        with pytest.raises(CheckpointError, match="a pos_embed of 18 rows"):
            converted("vit", state, tmp_path)


def _variant(network: torch.nn.Module) -> tuple[str, Variant]:
    """The layout and the variant of a network without memory.

    Raises:
        CheckpointError: it is none that mmseg has.
    """
    state = network.state_dict()
    plan = best_plan(provider.layouts, state)
    if plan is None or not plan.complete:
        raise CheckpointError("something is left over")
    in_file = {name: tuple(tensor.shape) for name, tensor in state.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in apply_plan(plan, state).items()}
    return plan.layout.name, provider.describe(Shapes(shapes, in_file=in_file))


_SIZES = {"tiny": "Ti", "small": "S", "base": "B", "large": "L", "huge": "H"}
_PLAIN = (
    *(f"vit_{size}_patch16_224" for size in ("tiny", "small", "base", "large")),
    *(f"vit_{size}_patch16_384" for size in ("tiny", "small", "base", "large")),
    *(f"vit_{size}_patch32_{pixels}" for size in ("small", "base", "large") for pixels in (224, 384)),
    *("vit_small_patch8_224", "vit_base_patch8_224", "vit_large_patch14_224", "vit_huge_patch14_224"),
    *(f"deit_{size}_patch16_224" for size in ("tiny", "small", "base")),
    *(f"deit_{size}_distilled_patch16_224" for size in ("tiny", "small", "base")),
    *("deit_base_patch16_384", "deit_base_distilled_patch16_384"),
    *("vit_base_patch16_224_miil", "eva_large_patch14_196", "eva_large_patch14_336"),
)
"""timm's networks that mmseg has."""


class TestPublished:
    @pytest.mark.parametrize("name", _PLAIN)
    def test_variant(self, name: str) -> None:
        with torch.device("meta"):
            network: Any = library("timm").create_model(name)
        layout, variant = _variant(network)
        size = next(size for size in _SIZES if f"_{size}_" in name)
        patch = network.patch_embed.patch_size[0]
        settings = variant.backbone
        assert variant.name == f"ViT-{_SIZES[size]}/{patch}"
        assert settings["num_heads"] == network.blocks[0].attn.num_heads
        assert (settings["num_layers"], settings["embed_dims"]) == (len(network.blocks), network.embed_dim)
        assert settings["img_size"] == network.patch_embed.img_size[0]
        assert ("-distilled" in layout, "-no-bias" in layout) == ("distilled" in name, "miil" in name)

    @pytest.mark.slow
    def test_no_other_network_of_timm_is_taken_for_one(self) -> None:
        """None of timm's others has names and shapes that pass: layer scale, registers, rotary positions."""
        timm = library("timm")
        others = {name for start in ("vit_*", "deit*", "eva*") for name in timm.list_models(start)}
        # Of those that differ in numbers only, of pixels as a rule, one.
        kinds = {re.sub(r"\d+", "", name): name for name in sorted(others - {*_PLAIN})}
        assert len(kinds) > 100
        for name in kinds.values():
            # Its first block tells as much as all of them. One network has lists of as many items as blocks.
            settings = {} if "sapiens2" in name else {"depth": 1}
            with torch.device("meta"):
                network = timm.create_model(name, **settings)
            with pytest.raises(CheckpointError):
                pytest.fail(f"{name} passes as {_variant(network)[1].name}")


class TestHeads:
    @pytest.mark.parametrize(
        ("kind", "settings", "heads", "note"),
        [
            ("vit_tiny_patch16_224", {"depth": 12}, 3, "num_heads is that of all published ViT-Ti"),
            ("vit_small_patch16_224", {"depth": 12}, 6, "MoCo v3's has 12"),
            ("vit_tiny_patch16_224", {"embed_dim": 256, "num_heads": 4}, 4, "num_heads=4 is assumed"),
            ("vit_tiny_patch16_224", {"embed_dim": 96, "num_heads": 4}, None, "set num_heads to that of the"),
        ],
    )
    def test_the_note_on_heads(
        self, kind: str, settings: dict[str, Any], heads: int | None, note: str
    ) -> None:
        with torch.device("meta"):
            network = library("timm").create_model(kind, **{"depth": 2, **settings})
        _, variant = _variant(network)
        assert variant.backbone.get("num_heads") == heads
        assert any(note in each for each in variant.notes)

    def test_wrong_heads_are_noticed(self, tmp_path: Path) -> None:
        """The comparisons above would fail with another number of heads."""
        network = vit_networks.timm_vit(embed_dim=64, num_heads=2)
        theirs = vit_networks.normed(
            outputs_of([*network.blocks, network.norm], lambda: network(image(64, 64)))
        )
        state, report = converted("vit", network.state_dict(), tmp_path)
        assert vit_networks.differ(vit_networks.tokens(report, state, image(64, 64)), theirs)
        assert_same_features(vit_networks.tokens(report, state, image(64, 64), num_heads=2), theirs)

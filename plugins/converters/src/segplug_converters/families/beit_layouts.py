"""How BEiT's and MAE's tensors are called, for :mod:`segplug_converters.families.beit`."""

from __future__ import annotations

from segplug_converters import Layout, Rule, drop, join, make, merge, move, share
from segplug_converters.families.beit_positions import index_of_embedding, index_of_table, no_bias, ones
from segplug_converters.layout import WEIGHT_OR_BIAS

__all__ = [
    "MAE",
    "TIMM",
    "TIMM_SHARED",
    "TRANSFORMERS",
    "TRANSFORMERS_5",
    "TRANSFORMERS_5_SHARED",
    "TRANSFORMERS_SHARED",
]

_TABLE = "layers.<i>.attn.relative_position_bias_table"
_INDEX = "layers.<i>.attn.relative_position_index"
_WORDS = {**WEIGHT_OR_BIAS, "n": ("1", "2"), "x": ("q", "v")}


_MAKE_INDEX = make(_INDEX, _TABLE, "a constant of the network", index_of_table, spare=False)

_TIMM: tuple[Rule, ...] = (
    move("cls_token", "cls_token"),
    move("patch_embed.proj.<p>", "patch_embed.projection.<p>"),
    move("blocks.<i>.norm<n>.<p>", "layers.<i>.ln<n>.<p>"),
    move("blocks.<i>.attn.qkv.weight", "layers.<i>.attn.qkv.weight"),
    move("blocks.<i>.attn.proj.<p>", "layers.<i>.attn.proj.<p>"),
    move("blocks.<i>.mlp.fc1.<p>", "layers.<i>.ffn.layers.0.0.<p>"),
    move("blocks.<i>.mlp.fc2.<p>", "layers.<i>.ffn.layers.1.<p>"),
    move("norm.<p>", "ln1.<p>", optional=True, spare=True),
    drop("fc_norm.<*>", "the classifier"),
    drop("head.<*>", "the classifier"),
    drop("mask_token", "pre-training"),
)

_TIMM_BEIT: tuple[Rule, ...] = (
    *_TIMM,
    move("blocks.<i>.gamma_<n>", "layers.<i>.gamma_<n>"),
    move("blocks.<i>.attn.<x>_bias", "layers.<i>.attn.<x>_bias"),
    _MAKE_INDEX,
    drop("lm_head.<*>", "pre-training"),
    drop("cls_pt_layers.<*>", "pre-training"),
    drop("cls_pt_norm.<*>", "pre-training"),
    drop("cls_pt_lm_head.<*>", "pre-training"),
)

_TIMM_NOTES = (
    "LayerNorm has eps=1e-6, which the settings have in norm_cfg; with mmseg's default, 1e-5, features "
    "differ where they are small",
)

_TIMM_ANCHORS = (("blocks.<i>.attn.q_bias", "layers.<i>.attn.q_bias"),)

TIMM = Layout(
    name="timm",
    what="timm's Beit, and the authors' own fine-tuned files of BEiT and BEiT v2",
    anchors=_TIMM_ANCHORS,
    words=_WORDS,
    rules=(
        *_TIMM_BEIT,
        move("blocks.<i>.attn.relative_position_bias_table", _TABLE),
        drop("blocks.<i>.attn.relative_position_index", "a constant of the network, made anew"),
    ),
    notes=_TIMM_NOTES,
)

TIMM_SHARED = Layout(
    name="timm-shared",
    what="timm's Beit with one table of relative positions, and the authors' pre-trained files",
    anchors=_TIMM_ANCHORS,
    words=_WORDS,
    rules=(
        *_TIMM_BEIT,
        share("rel_pos_bias.relative_position_bias_table", _TABLE),
        drop("rel_pos_bias.relative_position_index", "a constant of the network, made anew"),
    ),
    notes=_TIMM_NOTES,
)

MAE = Layout(
    name="mae",
    what="MAE's own files, and any other ViT under timm's names with whole biases, for mmseg's MAE",
    anchors=(("blocks.<i>.attn.qkv.bias", "layers.<i>.attn.qkv.bias"),),
    words=_WORDS,
    rules=(
        *_TIMM,
        move("pos_embed", "pos_embed"),
        move("blocks.<i>.attn.qkv.bias", "layers.<i>.attn.qkv.bias"),
        make("layers.<i>.gamma_<n>", "layers.<i>.ln<n>.weight", "ones: MAE has no scales", ones, spare=False),
        make(_TABLE, "pos_embed", "zeros: MAE has no relative positions", no_bias, spare=False),
        make(_INDEX, "pos_embed", "a constant of the network", index_of_embedding, spare=False),
        drop("decoder_<*>", "pre-training"),
    ),
    notes=_TIMM_NOTES,
    one_way="mmseg's MAE learns scales of blocks and relative positions, which a ViT has no place for",
)

_TRANSFORMERS_ENDS: tuple[Rule, ...] = (
    move("embeddings.cls_token", "cls_token"),
    move("embeddings.patch_embeddings.projection.<p>", "patch_embed.projection.<p>"),
    move("layernorm.<p>", "ln1.<p>", optional=True, spare=True),
    drop("embeddings.mask_token", "pre-training"),
    drop("pooler.layernorm.<p>", "the classifier"),
    drop("fpn<n>.<*>", "the segmentor's neck"),
)

_TRANSFORMERS: tuple[Rule, ...] = (
    *_TRANSFORMERS_ENDS,
    move("encoder.layer.<i>.lambda_<n>", "layers.<i>.gamma_<n>"),
    move("encoder.layer.<i>.layernorm_before.<p>", "layers.<i>.ln1.<p>"),
    join(
        (
            "encoder.layer.<i>.attention.attention.query.weight",
            "encoder.layer.<i>.attention.attention.key.weight",
            "encoder.layer.<i>.attention.attention.value.weight",
        ),
        "layers.<i>.attn.qkv.weight",
        merge(1, 1, 1),
    ),
    move("encoder.layer.<i>.attention.attention.query.bias", "layers.<i>.attn.q_bias"),
    move("encoder.layer.<i>.attention.attention.value.bias", "layers.<i>.attn.v_bias"),
    move("encoder.layer.<i>.attention.output.dense.<p>", "layers.<i>.attn.proj.<p>"),
    move("encoder.layer.<i>.layernorm_after.<p>", "layers.<i>.ln2.<p>"),
    move("encoder.layer.<i>.intermediate.dense.<p>", "layers.<i>.ffn.layers.0.0.<p>"),
    move("encoder.layer.<i>.output.dense.<p>", "layers.<i>.ffn.layers.1.<p>"),
    _MAKE_INDEX,
)

_TRANSFORMERS_ANCHORS = (
    ("encoder.layer.<i>.attention.attention.query.weight", "layers.<i>.attn.qkv.weight"),
)

_BIAS = "encoder.layer.<i>.attention.attention.relative_position_bias"

_TRANSFORMERS_BACKBONE = {"norm_cfg": {"type": "LN", "eps": 1e-12}}

_TRANSFORMERS_NOTES = (
    "LayerNorm has eps=1e-12 unless the network's config says otherwise (layer_norm_eps), which the settings "
    "have in norm_cfg; that of BEiT's authors is 1e-6, mmseg's default 1e-5",
    "transformers resizes the tables of positions for images of another size, mmseg's BEiT takes no other",
)

TRANSFORMERS = Layout(
    name="transformers",
    what="BEiT files of transformers",
    anchors=_TRANSFORMERS_ANCHORS,
    words=_WORDS,
    rules=(
        *_TRANSFORMERS,
        move(
            "encoder.layer.<i>.attention.attention.relative_position_bias.relative_position_bias_table",
            _TABLE,
        ),
        drop(
            "encoder.layer.<i>.attention.attention.relative_position_bias.relative_position_index",
            "a constant of the network, made anew",
        ),
    ),
    notes=_TRANSFORMERS_NOTES,
    backbone=_TRANSFORMERS_BACKBONE,
)

TRANSFORMERS_SHARED = Layout(
    name="transformers-shared",
    what="BEiT files of transformers with one table of relative positions",
    anchors=_TRANSFORMERS_ANCHORS,
    words=_WORDS,
    rules=(
        *_TRANSFORMERS,
        share("encoder.relative_position_bias.relative_position_bias_table", _TABLE),
        drop(
            "encoder.relative_position_bias.relative_position_index", "a constant of the network, made anew"
        ),
    ),
    notes=_TRANSFORMERS_NOTES,
    backbone=_TRANSFORMERS_BACKBONE,
)

_TRANSFORMERS_5: tuple[Rule, ...] = (
    *_TRANSFORMERS_ENDS,
    move("layers.<i>.lambda_<n>", "layers.<i>.gamma_<n>"),
    move("layers.<i>.layernorm_before.<p>", "layers.<i>.ln1.<p>"),
    join(
        (
            "layers.<i>.attention.q_proj.weight",
            "layers.<i>.attention.k_proj.weight",
            "layers.<i>.attention.v_proj.weight",
        ),
        "layers.<i>.attn.qkv.weight",
        merge(1, 1, 1),
    ),
    move("layers.<i>.attention.<x>_proj.bias", "layers.<i>.attn.<x>_bias"),
    move("layers.<i>.attention.o_proj.<p>", "layers.<i>.attn.proj.<p>"),
    move("layers.<i>.layernorm_after.<p>", "layers.<i>.ln2.<p>"),
    move("layers.<i>.mlp.fc1.<p>", "layers.<i>.ffn.layers.0.0.<p>"),
    move("layers.<i>.mlp.fc2.<p>", "layers.<i>.ffn.layers.1.<p>"),
    _MAKE_INDEX,
)

_TRANSFORMERS_5_ANCHORS = (("layers.<i>.attention.q_proj.weight", "layers.<i>.attn.qkv.weight"),)

TRANSFORMERS_5 = Layout(
    name="transformers-5",
    what="the names that BEiT has in the memory of transformers 5",
    anchors=_TRANSFORMERS_5_ANCHORS,
    words=_WORDS,
    rules=(
        *_TRANSFORMERS_5,
        move("layers.<i>.relative_position_bias.relative_position_bias_table", _TABLE),
    ),
    notes=_TRANSFORMERS_NOTES,
    backbone=_TRANSFORMERS_BACKBONE,
)

TRANSFORMERS_5_SHARED = Layout(
    name="transformers-5-shared",
    what="the names of transformers 5 with one table of relative positions",
    anchors=_TRANSFORMERS_5_ANCHORS,
    words=_WORDS,
    rules=(*_TRANSFORMERS_5, share("shared_position_bias.relative_position_bias_table", _TABLE)),
    notes=_TRANSFORMERS_NOTES,
    backbone=_TRANSFORMERS_BACKBONE,
)

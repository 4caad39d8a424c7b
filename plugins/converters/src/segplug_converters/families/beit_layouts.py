"""The layouts of BEiT and MAE by their authors and timm, and the rules that all their layouts share."""

from __future__ import annotations

from segplug_converters import Layout, Rule, drop, make, move, share
from segplug_converters.families.beit_positions import index_of_embedding, index_of_table, no_bias, ones
from segplug_converters.layout import WEIGHT_OR_BIAS

__all__ = [
    "FOR_BEIT",
    "FOR_MAE",
    "FPN",
    "INDEX_MADE_ANEW",
    "MAE",
    "ONE_WAY",
    "OTHER_SIZE",
    "TABLE",
    "TIMM",
    "TIMM_SHARED",
    "WORDS",
]

TABLE = "layers.<i>.attn.relative_position_bias_table"
_INDEX = "layers.<i>.attn.relative_position_index"
WORDS = {**WEIGHT_OR_BIAS, "n": ("1", "2"), "x": ("q", "v")}
INDEX_MADE_ANEW = "a constant of the network, computed again"

FOR_BEIT = make(_INDEX, TABLE, "a constant of the network", index_of_table, optional_target=False)
FOR_MAE: tuple[Rule, ...] = (
    make(
        "layers.<i>.gamma_<n>",
        "layers.<i>.ln<n>.weight",
        "ones: MAE has no scales",
        ones,
        optional_target=False,
    ),
    make(TABLE, "pos_embed", "zeros: MAE has no relative positions", no_bias, optional_target=False),
    make(_INDEX, "pos_embed", "a constant of the network", index_of_embedding, optional_target=False),
)
"""The tensors of BEiT that mmseg's MAE has and a ViT lacks."""
ONE_WAY = "mmseg's MAE learns scales of blocks and relative positions, which a ViT does not have"

FPN = drop("fpn<n>.<*>", "the segmentor's neck, which mmseg's configs have as Feature2Pyramid")
OTHER_SIZE = (
    "for another img_size than that of the weights, convert with --check CONFIG: mmseg's own resizing of "
    "positions needs a function that SciPy removed in 1.14"
)

_TIMM: tuple[Rule, ...] = (
    move("cls_token", "cls_token"),
    move("patch_embed.proj.<p>", "patch_embed.projection.<p>"),
    move("blocks.<i>.norm<n>.<p>", "layers.<i>.ln<n>.<p>"),
    move("blocks.<i>.attn.qkv.weight", "layers.<i>.attn.qkv.weight"),
    move("blocks.<i>.attn.proj.<p>", "layers.<i>.attn.proj.<p>"),
    move("blocks.<i>.mlp.fc1.<p>", "layers.<i>.ffn.layers.0.0.<p>"),
    move("blocks.<i>.mlp.fc2.<p>", "layers.<i>.ffn.layers.1.<p>"),
    move("norm.<p>", "ln1.<p>", optional="the final norm of all tokens", optional_target=True),
    drop("fc_norm.<*>", "the classifier"),
    drop("head.<*>", "the classifier"),
    drop("mask_token", "pre-training"),
    FPN,
)

_TIMM_BEIT: tuple[Rule, ...] = (
    *_TIMM,
    move("blocks.<i>.gamma_<n>", "layers.<i>.gamma_<n>"),
    move("blocks.<i>.attn.<x>_bias", "layers.<i>.attn.<x>_bias"),
    FOR_BEIT,
    drop("lm_head.<*>", "pre-training"),
    drop("cls_pt_layers.<*>", "pre-training"),
    drop("cls_pt_norm.<*>", "pre-training"),
    drop("cls_pt_lm_head.<*>", "pre-training"),
)

_TIMM_NOTES = (
    "LayerNorm has eps=1e-6, which the settings have in norm_cfg; with mmseg's default, 1e-5, small features "
    "differ",
    OTHER_SIZE,
)

_TIMM_ANCHORS = (("blocks.<i>.attn.q_bias", "layers.<i>.attn.q_bias"),)

TIMM = Layout(
    name="timm",
    description="timm's Beit, and the authors' own fine-tuned files of BEiT and BEiT v2",
    anchors=_TIMM_ANCHORS,
    words=WORDS,
    rules=(
        *_TIMM_BEIT,
        move("blocks.<i>.attn.relative_position_bias_table", TABLE),
        drop("blocks.<i>.attn.relative_position_index", INDEX_MADE_ANEW),
    ),
    notes=_TIMM_NOTES,
)

TIMM_SHARED = Layout(
    name="timm-shared",
    description="timm's Beit with one table of relative positions, and the authors' pre-trained files",
    anchors=_TIMM_ANCHORS,
    words=WORDS,
    rules=(
        *_TIMM_BEIT,
        share("rel_pos_bias.relative_position_bias_table", TABLE),
        drop("rel_pos_bias.relative_position_index", INDEX_MADE_ANEW),
    ),
    notes=_TIMM_NOTES,
)

MAE = Layout(
    name="mae",
    description="MAE's own files, and other ViTs with timm's names and biases of q, k and v, for mmseg's MAE",
    anchors=(("blocks.<i>.attn.qkv.bias", "layers.<i>.attn.qkv.bias"),),
    words=WORDS,
    rules=(
        *_TIMM,
        move("pos_embed", "pos_embed"),
        move("blocks.<i>.attn.qkv.bias", "layers.<i>.attn.qkv.bias"),
        *FOR_MAE,
        drop("decoder_<*>", "pre-training"),
    ),
    notes=_TIMM_NOTES,
    one_way=ONE_WAY,
)

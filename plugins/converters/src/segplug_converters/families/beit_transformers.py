"""transformers' layouts of BEiT and MAE."""

from __future__ import annotations

from collections.abc import Mapping

from segplug_converters import Layout, Rule, drop, join, merge, move, share
from segplug_converters.families.beit_layouts import (
    FOR_BEIT,
    FOR_MAE,
    FPN,
    INDEX_MADE_ANEW,
    ONE_WAY,
    OTHER_SIZE,
    TABLE,
    WORDS,
)

__all__ = ["BEITS", "MAES"]

_SAVED = {
    "block": "encoder.layer.<i>.",
    "q": "attention.attention.query",
    "k": "attention.attention.key",
    "v": "attention.attention.value",
    "out": "attention.output.dense",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "own": "encoder.layer.<i>.attention.attention.relative_position_bias.",
    "shared": "encoder.relative_position_bias.",
}
"""Names in files."""

_IN_MEMORY = {
    "block": "layers.<i>.",
    "q": "attention.q_proj",
    "k": "attention.k_proj",
    "v": "attention.v_proj",
    "out": "attention.o_proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "own": "layers.<i>.relative_position_bias.",
    "shared": "shared_position_bias.",
}
"""The same in memory, since version 5."""

_KINDS = (
    ("transformers", "by the names in its files", _SAVED),
    ("transformers-5", "by the names in memory since version 5", _IN_MEMORY),
)
_BACKBONE = {"norm_cfg": {"type": "LN", "eps": 1e-12}}
_NOTES = (
    "LayerNorm has eps=1e-12, which the settings have in norm_cfg, unless the network's config sets "
    "layer_norm_eps; the authors' eps is 1e-6, mmseg's default 1e-5",
    "transformers resizes positions for images of another size, mmseg's network takes no other size",
    OTHER_SIZE,
)


def _anchors(names: Mapping[str, str], core: str = "") -> tuple[tuple[str, str], ...]:
    return ((f"{core}{names['block']}{names['q']}.weight", "layers.<i>.attn.qkv.weight"),)


def _vit(names: Mapping[str, str], core: str = "") -> tuple[Rule, ...]:
    """The rules that BEiT and MAE have in common, without the final norm."""
    block = core + names["block"]
    return (
        move(f"{core}embeddings.cls_token", "cls_token"),
        move(f"{core}embeddings.patch_embeddings.projection.<p>", "patch_embed.projection.<p>"),
        move(f"{block}layernorm_before.<p>", "layers.<i>.ln1.<p>"),
        join(
            tuple(f"{block}{names[part]}.weight" for part in "qkv"),
            "layers.<i>.attn.qkv.weight",
            merge(1, 1, 1),
        ),
        move(f"{block}{names['out']}.<p>", "layers.<i>.attn.proj.<p>"),
        move(f"{block}layernorm_after.<p>", "layers.<i>.ln2.<p>"),
        move(f"{block}{names['fc1']}.<p>", "layers.<i>.ffn.layers.0.0.<p>"),
        move(f"{block}{names['fc2']}.<p>", "layers.<i>.ffn.layers.1.<p>"),
    )


def _beit(names: Mapping[str, str], *, shared: bool, core: str = "") -> tuple[Rule, ...]:
    block, table = core + names["block"], core + names["shared" if shared else "own"]
    return (
        *_vit(names, core),
        move(f"{block}lambda_<n>", "layers.<i>.gamma_<n>"),
        move(f"{block}{names['q']}.bias", "layers.<i>.attn.q_bias"),
        move(f"{block}{names['v']}.bias", "layers.<i>.attn.v_bias"),
        (share if shared else move)(f"{table}relative_position_bias_table", TABLE),
        FOR_BEIT,
        drop(f"{table}relative_position_index", INDEX_MADE_ANEW),
        drop(f"{core}embeddings.mask_token", "pre-training"),
        drop(f"{core}pooler.layernorm.<p>", "the classifier"),
    )


def _layout(name: str, description: str, names: Mapping[str, str], *, shared: bool) -> Layout:
    """BeitModel, alone or under ``beit.`` in a network for another task."""
    return Layout(
        name=name,
        description=description,
        anchors=_anchors(names),
        words=WORDS,
        rules=(
            *_beit(names, shared=shared),
            # With use_mean_pooling the network has the pooler's norm instead, of the average of the patches.
            move("layernorm.<p>", "ln1.<p>", optional="the final norm of all tokens", optional_target=True),
            FPN,
        ),
        notes=_NOTES,
        backbone=_BACKBONE,
        forbidden_anywhere=("lm_head.<*>",),  # pre-training has its final norm outside of BeitModel
    )


def _pretraining(name: str, description: str, names: Mapping[str, str], *, shared: bool) -> Layout:
    """BeitForMaskedImageModeling, which has the final norm outside of BeitModel."""
    core = "beit."
    return Layout(
        name=name,
        description=description,
        anchors=_anchors(names, core),
        words=WORDS,
        rules=(
            *_beit(names, shared=shared, core=core),
            move("layernorm.<p>", "ln1.<p>", optional_target=True),
            drop("lm_head.<p>", "pre-training"),
        ),
        notes=_NOTES,
        backbone=_BACKBONE,
    )


def _mae(name: str, description: str, names: Mapping[str, str]) -> Layout:
    block = names["block"]
    return Layout(
        name=name,
        description=description,
        anchors=_anchors(names),
        words=WORDS,
        rules=(
            *_vit(names),
            move("embeddings.position_embeddings", "pos_embed"),
            join(
                tuple(f"{block}{names[part]}.bias" for part in "qkv"),
                "layers.<i>.attn.qkv.bias",
                merge(1, 1, 1),
            ),
            *FOR_MAE,
            move("layernorm.<p>", "ln1.<p>", optional_target=True),
            drop("embeddings.mask_token", "pre-training"),
            drop("pooler.<*>", "the classifier"),
        ),
        notes=_NOTES,
        backbone=_BACKBONE,
        one_way=ONE_WAY,
    )


BEITS = tuple(
    build(name + table + purpose, f"transformers' BEiT{task}, {naming}{tables}", names, shared=bool(table))
    for name, naming, names in _KINDS
    for purpose, task, build in (
        ("", "", _layout),
        ("-pretraining", " with its norm for pre-training", _pretraining),
    )
    for table, tables in (("", ""), ("-shared", ", with one table of relative positions"))
)
MAES = tuple(
    _mae(
        name.replace("transformers", "mae-transformers"),
        f"transformers' MAE, and other ViTs of it with biases of q, k and v, {naming}, for mmseg's MAE",
        names,
    )
    for name, naming, names in _KINDS
)

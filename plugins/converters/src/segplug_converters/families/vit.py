"""``convert_weights vit``: ViT and DeiT of timm and transformers for mmseg's VisionTransformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug_converters import Converter, Layout, Rule, drop, join, make, merge, move, reshape
from segplug_converters.families.vit_variant import describe
from segplug_converters.layout import WEIGHT_OR_BIAS
from segplug_converters.names import Words
from segplug_converters.rules import Move

if TYPE_CHECKING:
    import torch

__all__ = ["provider"]

_PRETRAINING = "for pre-training"
_CLASSIFIER = "the classifier"
_DISTILLATION = "mmseg's network has no distillation token"
_EQUAL = merge(1, 1, 1)

_TIMM: tuple[Rule, ...] = (
    move("cls_token", "cls_token"),
    move("patch_embed.proj.<p>", "patch_embed.projection.<p>"),
    move("blocks.<i>.norm<n>.<p>", "layers.<i>.ln<n>.<p>"),
    move("blocks.<i>.attn.qkv.weight", "layers.<i>.attn.attn.in_proj_weight"),
    move("blocks.<i>.attn.proj.<p>", "layers.<i>.attn.attn.out_proj.<p>"),
    move("blocks.<i>.mlp.fc1.<p>", "layers.<i>.ffn.layers.0.0.<p>"),
    move("blocks.<i>.mlp.fc2.<p>", "layers.<i>.ffn.layers.1.<p>"),
    # A network that averages the patches has fc_norm instead, after the average.
    move("norm.<p>", "ln1.<p>", optional="the final norm of all tokens", optional_target=True),
    drop("fc_norm.<*>", "the classifier's norm of the averaged patches"),
    drop("pre_logits.<*>", _CLASSIFIER),
    drop("head.<*>", _CLASSIFIER),
    drop("mask_token", _PRETRAINING),
    drop("decoder_<*>", _PRETRAINING),
)
_TIMM_BIASES = move("blocks.<i>.attn.qkv.bias", "layers.<i>.attn.attn.in_proj_bias")
_TIMM_DISTILLED = (drop("dist_token", _DISTILLATION), drop("head_dist.<*>", _CLASSIFIER))

_TRANSFORMERS: tuple[Rule, ...] = (
    move("embeddings.cls_token", "cls_token"),
    move("embeddings.patch_embeddings.projection.<p>", "patch_embed.projection.<p>"),
    drop("embeddings.mask_token", _PRETRAINING),
    move("layernorm.<p>", "ln1.<p>", optional_target=True),
    drop("pooler.<*>", _CLASSIFIER),
)
_IN_FILES: tuple[Rule, ...] = (
    move("encoder.layer.<i>.layernorm_before.<p>", "layers.<i>.ln1.<p>"),
    join(
        (
            "encoder.layer.<i>.attention.attention.query.weight",
            "encoder.layer.<i>.attention.attention.key.weight",
            "encoder.layer.<i>.attention.attention.value.weight",
        ),
        "layers.<i>.attn.attn.in_proj_weight",
        _EQUAL,
    ),
    move("encoder.layer.<i>.attention.output.dense.<p>", "layers.<i>.attn.attn.out_proj.<p>"),
    move("encoder.layer.<i>.layernorm_after.<p>", "layers.<i>.ln2.<p>"),
    move("encoder.layer.<i>.intermediate.dense.<p>", "layers.<i>.ffn.layers.0.0.<p>"),
    move("encoder.layer.<i>.output.dense.<p>", "layers.<i>.ffn.layers.1.<p>"),
)
_IN_FILES_BIASES = join(
    (
        "encoder.layer.<i>.attention.attention.query.bias",
        "encoder.layer.<i>.attention.attention.key.bias",
        "encoder.layer.<i>.attention.attention.value.bias",
    ),
    "layers.<i>.attn.attn.in_proj_bias",
    _EQUAL,
)
_IN_MEMORY: tuple[Rule, ...] = (
    move("layers.<i>.layernorm_before.<p>", "layers.<i>.ln1.<p>"),
    join(
        (
            "layers.<i>.attention.q_proj.weight",
            "layers.<i>.attention.k_proj.weight",
            "layers.<i>.attention.v_proj.weight",
        ),
        "layers.<i>.attn.attn.in_proj_weight",
        _EQUAL,
    ),
    move("layers.<i>.attention.o_proj.<p>", "layers.<i>.attn.attn.out_proj.<p>"),
    move("layers.<i>.layernorm_after.<p>", "layers.<i>.ln2.<p>"),
    move("layers.<i>.mlp.fc1.<p>", "layers.<i>.ffn.layers.0.0.<p>"),
    move("layers.<i>.mlp.fc2.<p>", "layers.<i>.ffn.layers.1.<p>"),
)
_IN_MEMORY_BIASES = join(
    (
        "layers.<i>.attention.q_proj.bias",
        "layers.<i>.attention.k_proj.bias",
        "layers.<i>.attention.v_proj.bias",
    ),
    "layers.<i>.attn.attn.in_proj_bias",
    _EQUAL,
)
_TRANSFORMERS_DISTILLED = (drop("embeddings.distillation_token", _DISTILLATION),)


def _zeros(weight: torch.Tensor) -> torch.Tensor:
    return weight.new_zeros(weight.shape[0])


def _without_second_row(table: torch.Tensor) -> torch.Tensor:
    import torch

    if table.ndim != 3:
        raise ValueError(f"it has {table.ndim} dimensions, not 3: image, tokens, channels")
    return torch.cat([table[:, :1], table[:, 2:]], dim=1)


# Not mmseg's qkv_bias=False: that removes the bias of the output, too, which these networks have.
_NO_BIASES = make(
    "layers.<i>.attn.attn.in_proj_bias",
    "layers.<i>.attn.attn.in_proj_weight",
    "zeros: the network has no biases of q, k and v",
    _zeros,
    optional_target=False,
)
_TWO_TOKENS = reshape("without the distillation token's row", _without_second_row, None)


def _layouts(
    name: str,
    description: str,
    *,
    block: str,
    rules: tuple[Rule, ...],
    positions: str,
    biases: Move,
    distilled: tuple[Rule, ...],
    words: Words,
    notes: tuple[str, ...],
    eps: float,
) -> tuple[Layout, Layout, Layout]:
    """The layouts of one library: its ViT, the same distilled, and the same without biases of q, k and v.

    The last two are separate layouts: a file that lost its biases or its distillation token must not be taken
    for one without them.
    """
    anchors = ((block, "layers.<i>.ln1.weight"),)
    backbone = {"norm_cfg": {"type": "LN", "eps": eps}}
    table = move(positions, "pos_embed")
    without_token = (
        "the foreign network's patches attend to the distillation token, which mmseg's network lacks: "
        "its features are those of the foreign network without this token"
    )
    return (
        Layout(name, description, anchors, (table, *rules, biases), words, notes, backbone=backbone),
        Layout(
            f"{name}-distilled",
            f"{description}, with a distillation token",
            anchors,
            (move(positions, "pos_embed", _TWO_TOKENS), *rules, biases, *distilled),
            words,
            (*notes, without_token),
            one_way="mmseg's network has no distillation token and no position for it",
            backbone=backbone,
        ),
        Layout(
            f"{name}-no-bias",
            f"{description}, with qkv_bias=False",
            anchors,
            (table, *rules, _NO_BIASES),
            words,
            notes,
            one_way="the biases of q, k and v, which mmseg's network has, would be lost",
            backbone=backbone,
            # One bias in the file shows that the others are lost, and they must not become zeros.
            forbidden=biases.sources,
        ),
    )


TIMM = _layouts(
    "timm",
    "timm's VisionTransformer, and the official files of DeiT, DINO and MAE",
    block="blocks.<i>.norm1.weight",
    rules=_TIMM,
    positions="pos_embed",
    biases=_TIMM_BIASES,
    distilled=_TIMM_DISTILLED,
    words={**WEIGHT_OR_BIAS, "n": ("1", "2")},
    notes=(
        "timm's LayerNorm has eps=1e-6, which the settings have in norm_cfg: mmseg's own default is 1e-5",
        "for images of another size than img_size, timm resizes positions with antialiasing, mmseg without",
    ),
    eps=1e-6,
)
_TRANSFORMERS_EPS = (
    "transformers' LayerNorm has eps=1e-12, which the settings have in norm_cfg, unless the network's config "
    "sets layer_norm_eps; the eps of ViT's and DeiT's authors is 1e-6, mmseg's default 1e-5"
)
IN_FILES = _layouts(
    "transformers",
    "transformers' ViT and DeiT, by the names in its files",
    block="encoder.layer.<i>.layernorm_before.weight",
    rules=(*_TRANSFORMERS, *_IN_FILES),
    positions="embeddings.position_embeddings",
    biases=_IN_FILES_BIASES,
    distilled=_TRANSFORMERS_DISTILLED,
    words=WEIGHT_OR_BIAS,
    notes=(_TRANSFORMERS_EPS,),
    eps=1e-12,
)
IN_MEMORY = _layouts(
    "transformers-5",
    "transformers' ViT and DeiT, by the names in memory since version 5",
    block="layers.<i>.layernorm_before.weight",
    rules=(*_TRANSFORMERS, *_IN_MEMORY),
    positions="embeddings.position_embeddings",
    biases=_IN_MEMORY_BIASES,
    distilled=_TRANSFORMERS_DISTILLED,
    words=WEIGHT_OR_BIAS,
    notes=(_TRANSFORMERS_EPS,),
    eps=1e-12,
)

provider = Converter(
    family="ViT",
    about="ViT and DeiT of timm and transformers for mmseg's VisionTransformer.",
    layouts=(*TIMM, *IN_FILES, *IN_MEMORY),
    describe=describe,
)

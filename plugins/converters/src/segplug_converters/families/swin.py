"""``convert_weights swin``: Swin of the official files, timm and transformers for mmseg's SwinTransformer."""

from __future__ import annotations

from segplug_converters import Converter, Layout, Rule, drop, move
from segplug_converters.families.swin_parts import (
    FLATTENED,
    MADE,
    NO_SHIFT,
    POSITIONS,
    QKV_BIASES,
    UNFOLDED,
    WORDS,
)
from segplug_converters.families.swin_transformers import (
    BACKBONE,
    BACKBONE_5,
    MASKFORMER,
    TRANSFORMERS,
    TRANSFORMERS_5,
)
from segplug_converters.families.swin_variant import describe

__all__ = ["provider"]

_CONSTANTS: tuple[Rule, ...] = (
    drop("layers.<s>.blocks.<i>.attn.relative_position_index", "a constant, computed again"),
    drop(
        "layers.<s>.blocks.<i>.attn_mask",
        "a constant of one image size, which mmseg computes for every image",
    ),
    drop("mask_token", "for hidden patches in pre-training"),
)

# Not in segmentation files: a classifier that lost its norm must not be taken for one of them.
_CLASSIFIERS: tuple[Rule, ...] = (
    move("norm.<p>", "norm3.<p>", optional_target=True),
    drop("head.<*>", "the classifier"),
)

# patch_embed.norm is not optional: without it mmseg's network has no norms of the downsamplings, either.
_BLOCKS: tuple[Rule, ...] = (
    move("patch_embed.proj.<p>", "patch_embed.projection.<p>"),
    move("patch_embed.norm.<p>", "patch_embed.norm.<p>"),
    move("layers.<s>.blocks.<i>.norm<n>.<p>", "stages.<s>.blocks.<i>.norm<n>.<p>"),
    move(
        "layers.<s>.blocks.<i>.attn.relative_position_bias_table",
        "stages.<s>.blocks.<i>.attn.w_msa.relative_position_bias_table",
    ),
    move("layers.<s>.blocks.<i>.attn.qkv.weight", "stages.<s>.blocks.<i>.attn.w_msa.qkv.weight"),
    move(
        "layers.<s>.blocks.<i>.attn.qkv.bias",
        "stages.<s>.blocks.<i>.attn.w_msa.qkv.bias",
        optional=QKV_BIASES,
    ),
    move("layers.<s>.blocks.<i>.attn.proj.<p>", "stages.<s>.blocks.<i>.attn.w_msa.proj.<p>"),
    move("layers.<s>.blocks.<i>.mlp.fc1.<p>", "stages.<s>.blocks.<i>.ffn.layers.0.0.<p>"),
    move("layers.<s>.blocks.<i>.mlp.fc2.<p>", "stages.<s>.blocks.<i>.ffn.layers.1.<p>"),
)

_DOWNSAMPLING_AFTER: tuple[Rule, ...] = (
    move("layers.<d>.downsample.norm.<p>", "stages.<d>.downsample.norm.<p>", UNFOLDED),
    move("layers.<d>.downsample.reduction.weight", "stages.<d>.downsample.reduction.weight", UNFOLDED),
)

_DOWNSAMPLING_BEFORE: tuple[Rule, ...] = (
    move("layers.<d+1>.downsample.norm.<p>", "stages.<d>.downsample.norm.<p>", UNFOLDED),
    move("layers.<d+1>.downsample.reduction.weight", "stages.<d>.downsample.reduction.weight", UNFOLDED),
)

_ANCHORS = (("layers.<s>.blocks.<i>.norm1.weight", "stages.<s>.blocks.<i>.norm1.weight"),)

OFFICIAL = Layout(
    name="official",
    description="the official Swin's files for classification, SimMIM, timm before 0.9",
    anchors=_ANCHORS,
    words=WORDS,
    rules=(
        move("absolute_pos_embed", "absolute_pos_embed", optional=POSITIONS),
        *_BLOCKS,
        *_DOWNSAMPLING_AFTER,
        *_CLASSIFIERS,
        *MADE,
        *_CONSTANTS,
    ),
    notes=(NO_SHIFT,),
)

OFFICIAL_SEGMENTATION = Layout(
    name="official-segmentation",
    description="the official Swin's files for segmentation and detection",
    anchors=(*_ANCHORS, ("norm<o>.weight", "norm<o>.weight")),
    words=WORDS,
    rules=(
        move("absolute_pos_embed", "absolute_pos_embed", FLATTENED, optional=POSITIONS),
        *_BLOCKS,
        *_DOWNSAMPLING_AFTER,
        move("norm<o>.<p>", "norm<o>.<p>", optional_target=True),
        *MADE,
        *_CONSTANTS,
    ),
)

TIMM = Layout(
    name="timm",
    description="timm's SwinTransformer since 0.9",
    anchors=_ANCHORS,
    words=WORDS,
    rules=(*_BLOCKS, *_DOWNSAMPLING_BEFORE, *_CLASSIFIERS, *MADE, *_CONSTANTS),
    notes=(
        NO_SHIFT,
        "timm shifts a map before it pads it to windows, mmseg after: features differ if a stage's map is no "
        "multiple of the window",
    ),
)

# --reverse takes the first that fits: the official classifier, whose names timm reads, too. transformers'
# backbones come before its classifiers: a backbone that outputs a single stage has as many norms as those.
provider = Converter(
    family="Swin",
    about="Swin of the official files, timm and transformers for mmseg's SwinTransformer.",
    layouts=(
        OFFICIAL,
        OFFICIAL_SEGMENTATION,
        TIMM,
        BACKBONE,
        BACKBONE_5,
        MASKFORMER,
        TRANSFORMERS,
        TRANSFORMERS_5,
    ),
    describe=describe,
)

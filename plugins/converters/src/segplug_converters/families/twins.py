"""``convert_weights twins``: Twins of timm and the official files for mmseg's PCPVT and SVT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug.errors import CheckpointError
from segplug_converters import (
    WEIGHT_OR_BIAS,
    Converter,
    Layout,
    Rule,
    Shapes,
    Variant,
    drop,
    join,
    merge,
    move,
)
from segplug_converters.families.new_norm import new_norm
from segplug_converters.families.stages import four_stages

__all__ = ["provider"]

_WORDS = {**WEIGHT_OR_BIAS, "n": ("1", "2")}

# Blocks are <s>.<i>. Those with global attention are <g>.<b>, those with local attention <l>.<a>. Blocks with
# global attention that subsample their keys are <r>.<j>; the last stage has none.
_ANY_BLOCK = ("blocks.<s>.<i>.norm1.weight", "layers.<s>.<i>.norm1.weight")
_GLOBAL_BLOCK = ("blocks.<g>.<b>.attn.q.weight", "layers.<g>.<b>.attn.attn.in_proj_weight")
_SUBSAMPLING_BLOCK = ("blocks.<r>.<j>.attn.sr.weight", "layers.<r>.<j>.attn.sr.weight")
_LOCAL_BLOCK = ("blocks.<l>.<a>.attn.qkv.weight", "layers.<l>.<a>.attn.qkv.weight")
_SUBSAMPLING = "the subsampling of keys"

# No bias is optional: mmseg's attention without biases of q, k and v has no bias of the projection, either.
_BLOCKS: tuple[Rule, ...] = (
    move("patch_embeds.<s>.proj.<p>", "patch_embeds.<s>.projection.<p>"),
    move("patch_embeds.<s>.norm.<p>", "patch_embeds.<s>.norm.<p>"),
    move("pos_block.<s>.proj.0.<p>", "position_encodings.<s>.proj.<p>"),
    move("blocks.<s>.<i>.norm<n>.<p>", "layers.<s>.<i>.norm<n>.<p>"),
    join(
        ("blocks.<g>.<b>.attn.q.<p>", "blocks.<g>.<b>.attn.kv.<p>"),
        "layers.<g>.<b>.attn.attn.in_proj_<p>",
        merge(1, 2),
    ),
    move("blocks.<g>.<b>.attn.proj.<p>", "layers.<g>.<b>.attn.attn.out_proj.<p>"),
    move("blocks.<r>.<j>.attn.sr.<p>", "layers.<r>.<j>.attn.sr.<p>", optional=_SUBSAMPLING),
    move("blocks.<r>.<j>.attn.norm.<p>", "layers.<r>.<j>.attn.norm.<p>", optional=_SUBSAMPLING),
    move("blocks.<s>.<i>.mlp.fc1.<p>", "layers.<s>.<i>.ffn.layers.0.0.<p>"),
    move("blocks.<s>.<i>.mlp.fc2.<p>", "layers.<s>.<i>.ffn.layers.1.<p>"),
    drop("head.<*>", "the classifier"),
)

_LOCAL_ATTENTION: tuple[Rule, ...] = (
    move("blocks.<l>.<a>.attn.qkv.<p>", "layers.<l>.<a>.attn.qkv.<p>"),
    move("blocks.<l>.<a>.attn.proj.<p>", "layers.<l>.<a>.attn.proj.<p>"),
)

# The classifier has a norm after its last stage. mmseg's SVT has one after every stage, mmseg's PCPVT none.
# Those of the other stages are new, as in mmseg's own training from classification weights.
_CLASSIFIERS_NORM: tuple[Rule, ...] = (
    move("norm.<p>", "norm_list.3.<p>", optional_target=True),
    *new_norm("norm_list.<s>", "layers.<s>.0.norm1"),
)

_EPSILON = (
    "the norms in blocks and after stages have eps=1e-6, in mmseg 1e-5 (in blocks norm_cfg has no effect): "
    "a norm's output differs by about 5e-6 of itself, divided by the variance of its input over the channels"
)
_MASK = (
    "timm's local attention uses the zeros that pad a map to whole windows, mmseg masks them if it pads both "
    "height and width: features differ there"
)
_NORMS_BETWEEN = (
    "the settings are those of mmseg's configs, with norm_after_stage=True: new norms between the stages, "
    "which the classifier does not have, so features differ from the classifier's until the network is "
    "trained; norm_after_stage=False gives the classifier's features, but has no norm_list.* to load"
)
_CUT = "timm cuts off a partial patch at the right and lower border of a map, mmseg pads it"

PCPVT = Layout(
    name="pcpvt",
    description="Twins-PCPVT of timm and the official files",
    anchors=(_GLOBAL_BLOCK, _SUBSAMPLING_BLOCK, _ANY_BLOCK),
    words=_WORDS,
    rules=(
        *_BLOCKS,
        drop("norm.<p>", "the classifier's norm: mmseg's PCPVT outputs the stages without one"),
    ),
    notes=(_EPSILON, _CUT),
)

SVT = Layout(
    name="svt",
    description="Twins-SVT of timm and the official classification files",
    anchors=(_LOCAL_BLOCK, _GLOBAL_BLOCK, _SUBSAMPLING_BLOCK, _ANY_BLOCK),
    words=_WORDS,
    rules=(*_BLOCKS, *_LOCAL_ATTENTION, *_CLASSIFIERS_NORM),
    notes=(_NORMS_BETWEEN, _EPSILON, _MASK, _CUT),
)

SVT_SEGMENTATION = Layout(
    name="svt-segmentation",
    description="Twins-SVT of the official segmentation and detection files",
    anchors=(_LOCAL_BLOCK, _GLOBAL_BLOCK, _SUBSAMPLING_BLOCK, _ANY_BLOCK),
    words=_WORDS,
    rules=(
        *_BLOCKS,
        *_LOCAL_ATTENTION,
        move("norm_list.<s>.<p>", "norm_list.<s>.<p>", optional_target=True),
        drop("norm.<p>", "a norm that the network does not use"),
    ),
    notes=(_EPSILON,),
)

_WINDOW = 7
_PUBLISHED: Mapping[tuple[str, tuple[int, ...], tuple[int, ...]], str] = {
    ("PCPVT", (64, 128, 320, 512), (3, 4, 6, 3)): "S",
    ("PCPVT", (64, 128, 320, 512), (3, 4, 18, 3)): "B",
    ("PCPVT", (64, 128, 320, 512), (3, 8, 27, 3)): "L",
    ("SVT", (64, 128, 256, 512), (2, 2, 10, 4)): "S",
    ("SVT", (96, 192, 384, 768), (2, 2, 18, 2)): "B",
    ("SVT", (128, 256, 512, 1024), (2, 2, 18, 2)): "L",
}
_CHANNELS_OF_A_HEAD = {"PCPVT": 64, "SVT": 32}
"""Channels of a head in all published networks."""


def describe(shapes: Shapes) -> Variant:
    """Read from the attention of the blocks whether it is PCPVT or SVT, and the sizes of the stages."""
    stages = four_stages(shapes, "patch_embeds.<n>.projection.weight", "Twins")
    embeds = [shapes.of(f"patch_embeds.{stage}.projection.weight") for stage in stages]
    widths = [width for width, *_ in embeds]
    depths = [shapes.count(f"layers.{stage}.<n>.norm1.weight") for stage in stages]
    kind = _kind(shapes, depths)
    _check_alike(shapes, stages)
    settings: dict[str, Any] = {
        "type": kind,
        "embed_dims": widths,
        "depths": depths,
        "num_heads": [_heads(kind, width) for width in widths],
        "mlp_ratios": [_mlp_ratio(shapes, stage) for stage in stages],
        "sr_ratios": [_subsampling(shapes, stage, depth) for stage, depth in enumerate(depths)],
        "patch_sizes": [side for *_, side in embeds],
        "strides": [side for *_, side in embeds],
        "qkv_bias": True,
        "norm_after_stage": kind == "SVT",
    }
    if kind == "SVT":
        settings["windiow_sizes"] = [_WINDOW for _ in stages]  # mmseg's own spelling
    channels = embeds[0][1]
    if channels != 3:
        settings["in_channels"] = channels
    size = _PUBLISHED.get((kind, tuple(widths), tuple(depths)))
    if size is not None:
        return Variant(f"Twins-{kind}-{size}", settings)
    name = f"Twins-{kind}, {widths[0]} to {widths[-1]} channels, {sum(depths)} blocks"
    return Variant(name, settings, _assumed(kind))


def _assumed(kind: str) -> tuple[str, ...]:
    """Settings of an unpublished network that cannot be read from its weights."""
    heads = f"heads of {_CHANNELS_OF_A_HEAD[kind]} channels are assumed, as all published Twins-{kind} have"
    windows = f"windows of {_WINDOW} x {_WINDOW} are assumed, as all published Twins-SVT have"
    return (heads, windows) if kind == "SVT" else (heads,)


def _kind(shapes: Shapes, depths: list[int]) -> str:
    """``SVT`` if there is local attention: in mmseg's SVT it alternates with global attention, local first.

    Raises:
        CheckpointError: they do not alternate, or a block has no attention.
    """
    local = {
        (stage, block): _is_local(shapes, stage, block)
        for stage, depth in enumerate(depths)
        for block in range(depth)
    }
    if not any(local.values()):
        return "PCPVT"
    for (stage, block), is_local in local.items():
        if is_local != (block % 2 == 0):
            raise CheckpointError(
                f"block {block} of stage {stage} has another kind of attention than in mmseg's SVT, "
                "where local and global attention alternate"
            )
    return "SVT"


def _is_local(shapes: Shapes, stage: int, block: int) -> bool:
    attention = f"layers.{stage}.{block}.attn."
    is_local, is_global = (attention + name in shapes for name in ("qkv.weight", "attn.in_proj_weight"))
    if is_local == is_global:
        how_many = "two kinds of" if is_local else "no"
        raise CheckpointError(f"block {block} of stage {stage} has {how_many} attention: is the file whole?")
    return is_local


def _check_alike(shapes: Shapes, stages: range) -> None:
    """Compare the blocks of a stage part by part: local and global attention have parts of their own."""
    for stage in stages:
        for part in ("norm1", "norm2", "ffn", "attn.qkv", "attn.proj", "attn.attn", "attn.norm"):
            shapes.check_alike(f"layers.{stage}.<n>.{part}.")


def _heads(kind: str, width: int) -> int:
    heads, rest = divmod(width, _CHANNELS_OF_A_HEAD[kind])
    if rest:
        raise CheckpointError(
            f"the {width} channels of a stage are no multiple of {_CHANNELS_OF_A_HEAD[kind]}, the channels "
            f"of a head in all published Twins-{kind}: this is another network"
        )
    return heads


def _mlp_ratio(shapes: Shapes, stage: int) -> int:
    hidden, width = shapes.of(f"layers.{stage}.0.ffn.layers.0.0.weight")
    ratio, rest = divmod(hidden, width)
    if rest:
        raise CheckpointError(
            f"stage {stage} has {hidden} hidden channels, mmseg's Twins a multiple of its {width} channels"
        )
    return ratio


def _subsampling(shapes: Shapes, stage: int, depth: int) -> int:
    """By how much a stage subsamples its keys along each axis; 1 if it has no convolution for that."""
    kernels = {
        shapes.of(name)[2] if (name := f"layers.{stage}.{block}.attn.sr.weight") in shapes else 1
        for block in range(depth)
        if f"layers.{stage}.{block}.attn.attn.in_proj_weight" in shapes
    }
    if len(kernels) > 1:
        raise CheckpointError(f"blocks of stage {stage} differ in attn.sr: mmseg's Twins has one for all")
    return kernels.pop() if kernels else 1


provider = Converter(
    family="Twins",
    about="Twins of timm and the official files for mmseg's PCPVT and SVT.",
    layouts=(PCPVT, SVT, SVT_SEGMENTATION),
    describe=describe,
)

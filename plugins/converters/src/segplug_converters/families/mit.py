"""``convert_weights mit``: SegFormer's MiT of NVlabs, smp, transformers for mmseg's MixVisionTransformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segplug.errors import CheckpointError
from segplug_converters import Converter, Layout, Shapes, Variant, drop, join, merge, move, reshape
from segplug_converters.families.stages import four_stages
from segplug_converters.layout import WEIGHT_OR_BIAS

if TYPE_CHECKING:
    import torch

__all__ = ["provider"]

_WORDS = {**WEIGHT_OR_BIAS, "n": ("1", "2")}

# Blocks are <s>.<i>. Blocks that reduce their keys and values are <r>.<j>; the last stage has none.
_REDUCTION = "spatial reductions"


def _as_kernel(matrix: torch.Tensor) -> torch.Tensor:
    if matrix.ndim != 2:
        raise ValueError(f"it has {matrix.ndim} dimensions, not 2")
    return matrix[:, :, None, None]


def _as_matrix(kernel: torch.Tensor) -> torch.Tensor:
    if kernel.shape[2:] != (1, 1):
        raise ValueError("it is no kernel of 1x1")
    return kernel[:, :, 0, 0]


_KERNEL = reshape("a linear layer as a convolution of 1x1", _as_kernel, _as_matrix)

_EPS_NOTE = (
    "LayerNorm has eps=1e-5 after the patch embeddings, which the settings have in norm_cfg; with mmseg's "
    "default, 1e-6, features of small embeddings differ"
)

OFFICIAL = Layout(
    name="official",
    description="NVlabs' own SegFormer files, and the MiT encoders of segmentation-models-pytorch",
    anchors=(
        ("block<s>.<i>.attn.q.weight", "layers.<s-1>.1.<i>.attn.attn.in_proj_weight"),
        ("block<r>.<j>.attn.sr.weight", "layers.<r-1>.1.<j>.attn.sr.weight"),
        ("patch_embed<s>.proj.weight", "layers.<s-1>.0.projection.weight"),
    ),
    words=_WORDS,
    rules=(
        move("patch_embed<s>.proj.<p>", "layers.<s-1>.0.projection.<p>"),
        move("patch_embed<s>.norm.<p>", "layers.<s-1>.0.norm.<p>"),
        move("block<s>.<i>.norm<n>.<p>", "layers.<s-1>.1.<i>.norm<n>.<p>"),
        join(
            ("block<s>.<i>.attn.q.<p>", "block<s>.<i>.attn.kv.<p>"),
            "layers.<s-1>.1.<i>.attn.attn.in_proj_<p>",
            merge(1, 2),
        ),
        move("block<s>.<i>.attn.proj.<p>", "layers.<s-1>.1.<i>.attn.attn.out_proj.<p>"),
        move("block<r>.<j>.attn.sr.<p>", "layers.<r-1>.1.<j>.attn.sr.<p>", optional=_REDUCTION),
        move("block<r>.<j>.attn.norm.<p>", "layers.<r-1>.1.<j>.attn.norm.<p>", optional=_REDUCTION),
        move("block<s>.<i>.mlp.fc1.weight", "layers.<s-1>.1.<i>.ffn.layers.0.weight", _KERNEL),
        move("block<s>.<i>.mlp.fc1.bias", "layers.<s-1>.1.<i>.ffn.layers.0.bias"),
        move("block<s>.<i>.mlp.dwconv.dwconv.<p>", "layers.<s-1>.1.<i>.ffn.layers.1.<p>"),
        move("block<s>.<i>.mlp.fc2.weight", "layers.<s-1>.1.<i>.ffn.layers.4.weight", _KERNEL),
        move("block<s>.<i>.mlp.fc2.bias", "layers.<s-1>.1.<i>.ffn.layers.4.bias"),
        move("norm<s>.<p>", "layers.<s-1>.2.<p>"),
        drop("head.<*>", "the classifier"),
    ),
    notes=(
        _EPS_NOTE,
        "the official network has eps=1e-6 before attention and MLP and after each stage, where mmseg uses "
        "1e-5, too: with random weights, features differ by 4e-6 of the largest",
    ),
)

TRANSFORMERS = Layout(
    name="transformers",
    description="SegFormer of transformers, by the names in its files",
    anchors=(
        ("encoder.block.<s>.<i>.attention.self.query.weight", "layers.<s>.1.<i>.attn.attn.in_proj_weight"),
        ("encoder.block.<r>.<j>.attention.self.sr.weight", "layers.<r>.1.<j>.attn.sr.weight"),
        ("encoder.patch_embeddings.<s>.proj.weight", "layers.<s>.0.projection.weight"),
    ),
    words=_WORDS,
    rules=(
        move("encoder.patch_embeddings.<s>.proj.<p>", "layers.<s>.0.projection.<p>"),
        move("encoder.patch_embeddings.<s>.layer_norm.<p>", "layers.<s>.0.norm.<p>"),
        move("encoder.block.<s>.<i>.layer_norm_<n>.<p>", "layers.<s>.1.<i>.norm<n>.<p>"),
        join(
            (
                "encoder.block.<s>.<i>.attention.self.query.<p>",
                "encoder.block.<s>.<i>.attention.self.key.<p>",
                "encoder.block.<s>.<i>.attention.self.value.<p>",
            ),
            "layers.<s>.1.<i>.attn.attn.in_proj_<p>",
            merge(1, 1, 1),
        ),
        move("encoder.block.<s>.<i>.attention.output.dense.<p>", "layers.<s>.1.<i>.attn.attn.out_proj.<p>"),
        move(
            "encoder.block.<r>.<j>.attention.self.sr.<p>", "layers.<r>.1.<j>.attn.sr.<p>", optional=_REDUCTION
        ),
        move(
            "encoder.block.<r>.<j>.attention.self.layer_norm.<p>",
            "layers.<r>.1.<j>.attn.norm.<p>",
            optional=_REDUCTION,
        ),
        move("encoder.block.<s>.<i>.mlp.dense1.weight", "layers.<s>.1.<i>.ffn.layers.0.weight", _KERNEL),
        move("encoder.block.<s>.<i>.mlp.dense1.bias", "layers.<s>.1.<i>.ffn.layers.0.bias"),
        move("encoder.block.<s>.<i>.mlp.dwconv.dwconv.<p>", "layers.<s>.1.<i>.ffn.layers.1.<p>"),
        move("encoder.block.<s>.<i>.mlp.dense2.weight", "layers.<s>.1.<i>.ffn.layers.4.weight", _KERNEL),
        move("encoder.block.<s>.<i>.mlp.dense2.bias", "layers.<s>.1.<i>.ffn.layers.4.bias"),
        move("encoder.layer_norm.<s>.<p>", "layers.<s>.2.<p>"),
    ),
    notes=(_EPS_NOTE,),
)

TRANSFORMERS_5 = Layout(
    name="transformers-5",
    description="SegFormer of transformers, by the names in memory since version 5",
    anchors=(
        ("stages.<s>.blocks.<i>.attention.q_proj.weight", "layers.<s>.1.<i>.attn.attn.in_proj_weight"),
        (
            "stages.<r>.blocks.<j>.attention.sequence_reduction.sequence_reduction.weight",
            "layers.<r>.1.<j>.attn.sr.weight",
        ),
        ("stages.<s>.patch_embeddings.proj.weight", "layers.<s>.0.projection.weight"),
    ),
    words=WEIGHT_OR_BIAS,
    rules=(
        move("stages.<s>.patch_embeddings.proj.<p>", "layers.<s>.0.projection.<p>"),
        move("stages.<s>.patch_embeddings.layer_norm.<p>", "layers.<s>.0.norm.<p>"),
        move("stages.<s>.blocks.<i>.layernorm_before.<p>", "layers.<s>.1.<i>.norm1.<p>"),
        join(
            (
                "stages.<s>.blocks.<i>.attention.q_proj.<p>",
                "stages.<s>.blocks.<i>.attention.k_proj.<p>",
                "stages.<s>.blocks.<i>.attention.v_proj.<p>",
            ),
            "layers.<s>.1.<i>.attn.attn.in_proj_<p>",
            merge(1, 1, 1),
        ),
        move("stages.<s>.blocks.<i>.attention.o_proj.<p>", "layers.<s>.1.<i>.attn.attn.out_proj.<p>"),
        move(
            "stages.<r>.blocks.<j>.attention.sequence_reduction.sequence_reduction.<p>",
            "layers.<r>.1.<j>.attn.sr.<p>",
            optional=_REDUCTION,
        ),
        move(
            "stages.<r>.blocks.<j>.attention.sequence_reduction.layer_norm.<p>",
            "layers.<r>.1.<j>.attn.norm.<p>",
            optional=_REDUCTION,
        ),
        move("stages.<s>.blocks.<i>.layernorm_after.<p>", "layers.<s>.1.<i>.norm2.<p>"),
        move("stages.<s>.blocks.<i>.mlp.fc1.weight", "layers.<s>.1.<i>.ffn.layers.0.weight", _KERNEL),
        move("stages.<s>.blocks.<i>.mlp.fc1.bias", "layers.<s>.1.<i>.ffn.layers.0.bias"),
        move("stages.<s>.blocks.<i>.mlp.dwconv.dwconv.<p>", "layers.<s>.1.<i>.ffn.layers.1.<p>"),
        move("stages.<s>.blocks.<i>.mlp.fc2.weight", "layers.<s>.1.<i>.ffn.layers.4.weight", _KERNEL),
        move("stages.<s>.blocks.<i>.mlp.fc2.bias", "layers.<s>.1.<i>.ffn.layers.4.bias"),
        move("stages.<s>.layer_norm.<p>", "layers.<s>.2.<p>"),
    ),
    notes=(_EPS_NOTE,),
)

_PUBLISHED: dict[tuple[int, tuple[int, ...]], str] = {
    (32, (2, 2, 2, 2)): "MiT-B0",
    (64, (2, 2, 2, 2)): "MiT-B1",
    (64, (3, 4, 6, 3)): "MiT-B2",
    (64, (3, 4, 18, 3)): "MiT-B3",
    (64, (3, 8, 27, 3)): "MiT-B4",
    (64, (3, 6, 40, 3)): "MiT-B5",
}
"""Width of the first stage and blocks of each stage: the published name."""
_HEADS = [1, 2, 5, 8]
_REDUCTIONS = [8, 4, 2, 1]


def describe(shapes: Shapes) -> Variant:
    """Read the size of a MiT from the embeddings and blocks of its stages."""
    stages = four_stages(shapes, "layers.<n>.0.projection.weight", "MiT")
    for stage in stages:
        shapes.check_alike(f"layers.{stage}.1.<n>.")
    embeddings = [shapes.of(f"layers.{stage}.0.projection.weight") for stage in stages]
    widths = [embedding[0] for embedding in embeddings]
    depths = [shapes.count(f"layers.{stage}.1.<n>.norm1.weight") for stage in stages]
    heads = _heads(widths)
    reductions = [_reduction(shapes, stage) for stage in stages]
    ratio = _mlp_ratio(shapes, widths)
    settings = {
        "type": "MixVisionTransformer",
        "in_channels": embeddings[0][1],
        "embed_dims": widths[0],
        "num_stages": len(widths),
        "num_layers": depths,
        "num_heads": heads,
        "patch_sizes": [embedding[2] for embedding in embeddings],
        "strides": [4] + [2] * (len(widths) - 1),
        "sr_ratios": reductions,
        "out_indices": list(stages),
        "mlp_ratio": ratio,
        "norm_cfg": {"type": "LN", "eps": 1e-5},
    }
    name = _PUBLISHED.get((widths[0], tuple(depths)))
    if name is not None and (heads, reductions, ratio) == (_HEADS, _REDUCTIONS, 4):
        return Variant(name, settings)
    named = f"MiT, {'/'.join(map(str, widths))} channels, {'/'.join(map(str, depths))} blocks"
    assumed = (
        f"the number of heads cannot be read from the weights: one for every {widths[0]} channels is assumed",
        "the strides of the stages cannot be read from the weights: 4, then 2 is assumed, as in all "
        "published MiT",
    )
    return Variant(named, settings, assumed)


def _heads(widths: list[int]) -> list[int]:
    """The heads of each stage: all have the same width, and the published first stages have one head."""
    if any(width % widths[0] for width in widths):
        given = ", ".join(map(str, widths))
        raise CheckpointError(
            f"stages of {given} channels do not fit mmseg's MixVisionTransformer, "
            f"which needs multiples of the first"
        )
    return [width // widths[0] for width in widths]


def _reduction(shapes: Shapes, stage: int) -> int:
    """By how much a stage reduces keys and values along each side; 1 if it has no convolution for that."""
    name = f"layers.{stage}.1.0.attn.sr.weight"
    if name not in shapes:
        return 1
    side = shapes.of(name)[2]
    if side == 1:
        raise CheckpointError(
            f"stage {stage} has a spatial reduction by 1: mmseg's MixVisionTransformer reduces by 2 or more, "
            "or has no reduction"
        )
    return side


def _mlp_ratio(shapes: Shapes, widths: list[int]) -> int:
    hidden = [shapes.of(f"layers.{stage}.1.0.ffn.layers.0.weight")[0] for stage in range(len(widths))]
    ratio = hidden[0] // widths[0]
    if hidden != [width * ratio for width in widths]:
        given = ", ".join(f"{inner} of {width}" for inner, width in zip(hidden, widths, strict=True))
        raise CheckpointError(
            f"hidden channels {given} do not fit mmseg's MixVisionTransformer, "
            f"which has one whole ratio for all stages"
        )
    return ratio


provider = Converter(
    family="MiT",
    about="SegFormer's MiT of NVlabs, smp, transformers for mmseg's MixVisionTransformer.",
    layouts=(OFFICIAL, TRANSFORMERS, TRANSFORMERS_5),
    describe=describe,
)

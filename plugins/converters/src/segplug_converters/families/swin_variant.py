"""Read the variant of a Swin from converted weights."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

from segplug.errors import CheckpointError
from segplug_converters import Shapes, Variant
from segplug_converters.families.stages import four_stages

__all__ = ["describe"]

_PUBLISHED: Mapping[tuple[int, tuple[int, ...]], str] = {
    (96, (2, 2, 6, 2)): "T",
    (96, (2, 2, 18, 2)): "S",
    (128, (2, 2, 18, 2)): "B",
    (192, (2, 2, 18, 2)): "L",
}


def describe(shapes: Shapes) -> Variant:
    """Read the size from the blocks, heads and window from the tables of relative positions."""
    width, channels, patch, _ = shapes.of("patch_embed.projection.weight")
    stages = four_stages(shapes, "stages.<n>.blocks.0.norm1.weight", "Swin")
    depths = [shapes.count(f"stages.{stage}.blocks.<n>.norm1.weight") for stage in stages]
    blocks = [f"stages.{stage}.blocks.0" for stage in stages]
    window = _window(shapes, depths)
    for stage in stages:
        shapes.check_alike(f"stages.{stage}.blocks.<n>.")
    heads = [shapes.of(f"{block}.attn.w_msa.relative_position_bias_table")[1] for block in blocks]
    settings: dict[str, Any] = {
        "type": "SwinTransformer",
        "embed_dims": width,
        "depths": depths,
        "num_heads": heads,
        "window_size": window,
        "mlp_ratio": _mlp_ratio(shapes, blocks, width),
        "patch_size": patch,
    }
    if patch != 4:
        settings["strides"] = [patch, *(2 for _ in stages[1:])]
    if channels != 3:
        settings["in_channels"] = channels
    if f"{blocks[0]}.attn.w_msa.qkv.bias" not in shapes:
        settings["qkv_bias"] = False
    notes: list[str] = []
    if "absolute_pos_embed" in shapes:
        size = _image_size(shapes, patch)
        settings.update(use_abs_pos_embed=True, pretrain_img_size=size)
        notes.append(
            f"mmseg adds absolute_pos_embed only to images of {size} x {size} pixels, and its init_cfg "
            "(Pretrained) cannot load it: use load_from for these weights"
        )
    size_name = _PUBLISHED.get((width, tuple(depths)))
    is_published = size_name and heads == [width * 2**stage // 32 for stage in stages]
    name = f"Swin-{size_name}" if is_published else f"Swin, {width} channels, {sum(depths)} blocks"
    return Variant(f"{name}, patch {patch}, window {window}", settings, tuple(notes))


def _window(shapes: Shapes, depths: list[int]) -> int:
    """The one window size of all blocks.

    Raises:
        CheckpointError: a window is not square, or they differ.
    """
    rows = [
        shapes.of(f"stages.{stage}.blocks.{block}.attn.w_msa.relative_position_bias_table")[0]
        for stage, depth in enumerate(depths)
        for block in range(depth)
    ]
    for number in rows:
        if isqrt(number) ** 2 != number or number % 2 == 0:
            raise CheckpointError(f"a relative_position_bias_table of {number} rows is for no square window")
    windows = sorted({(isqrt(number) + 1) // 2 for number in rows})
    if len(windows) > 1:
        raise CheckpointError(
            f"blocks have windows of {' and '.join(map(str, windows))}, as in Swin-S3 or after training on "
            "small images: mmseg's SwinTransformer has one size for all"
        )
    return windows[0]


def _mlp_ratio(shapes: Shapes, blocks: list[str], width: int) -> float:
    """The ratio of hidden channels to channels.

    Raises:
        CheckpointError: the widths are not those of mmseg's network.
    """
    ratios = set()
    for stage, block in enumerate(blocks):
        hidden, here = shapes.of(f"{block}.ffn.layers.0.0.weight")
        qkv, _ = shapes.of(f"{block}.attn.w_msa.qkv.weight")
        if here != width * 2**stage or qkv != 3 * here:
            raise CheckpointError(
                f"stage {stage} has {here} channels, its attention {qkv // 3}: in mmseg's SwinTransformer "
                f"both are {width * 2**stage}"
            )
        ratios.add(hidden / here)
    if len(ratios) > 1:
        raise CheckpointError("stages differ in mlp_ratio: mmseg's SwinTransformer has one for all")
    (ratio,) = ratios
    return int(ratio) if ratio.is_integer() else ratio


def _image_size(shapes: Shapes, patch: int) -> int:
    """The side, in pixels, of the images that the absolute positions are for.

    Raises:
        CheckpointError: they are for no square image.
    """
    places = shapes.of("absolute_pos_embed")[1]
    if isqrt(places) ** 2 != places:
        raise CheckpointError(f"absolute_pos_embed has {places} positions, not those of a square image")
    return isqrt(places) * patch

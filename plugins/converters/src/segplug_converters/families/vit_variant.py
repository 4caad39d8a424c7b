"""Read the variant of a ViT from converted weights, for every layout."""

from __future__ import annotations

import math
from typing import Any

from segplug.errors import CheckpointError
from segplug_converters import Shapes, Variant

__all__ = ["describe"]

_PUBLISHED = {
    (192, 12, 4): ("Ti", 3),
    (384, 12, 4): ("S", 6),
    (768, 12, 4): ("B", 12),
    (1024, 24, 4): ("L", 16),
    (1280, 32, 4): ("H", 16),
}
"""Channels, blocks and mlp_ratio: the published name, and the heads."""

_FIRST_SMALL = (768, 8, 3)
"""The same for timm's ViT-S of 2020."""

_HEAD = 64
"""Channels of a head in nearly all other ViTs."""


def describe(shapes: Shapes) -> Variant:
    """Read the size, patches and image size of a ViT, and mmseg's settings that compute the same.

    Raises:
        CheckpointError: mmseg's VisionTransformer cannot have these shapes.
    """
    width, channels, patch = _patches(shapes)
    depth = shapes.count("layers.<n>.ln1.weight")
    shapes.check_alike("layers.<n>.")
    ratio = _mlp_ratio(shapes, width)
    _check_attention(shapes, width)
    if (width, depth, ratio) == _FIRST_SMALL:
        _check_scale(shapes)
    letter, heads = _PUBLISHED.get((width, depth, ratio), (None, width // _HEAD))
    settings: dict[str, Any] = {
        "type": "VisionTransformer",
        "img_size": _grid(shapes) * patch,
        "patch_size": patch,
        "embed_dims": width,
        "num_layers": depth,
    }
    if letter or width % _HEAD == 0:
        settings["num_heads"] = heads
    if ratio != 4:
        settings["mlp_ratio"] = ratio
    if channels != 3:
        settings["in_channels"] = channels
    if "ln1.weight" in shapes:
        settings["final_norm"] = True
    name = f"ViT-{letter}/{patch}" if letter else f"ViT, {width} channels, {depth} blocks, patch {patch}"
    return Variant(name, settings, (_note_on_heads(letter, width),))


def _patches(shapes: Shapes) -> tuple[int, int, int]:
    """Channels of the network, channels of the image, and the side of a patch in pixels."""
    width, channels, patch, across = shapes.of("patch_embed.projection.weight")
    if patch != across:
        raise _unfit(f"patches of {patch}x{across} pixels", "has square ones")
    return width, channels, patch


def _grid(shapes: Shapes) -> int:
    """Patches along a side of the image that the positions are for."""
    shape = shapes.of("pos_embed")
    if len(shape) != 3:
        raise _unfit(f"a pos_embed of {len(shape)} dimensions", "has one of 3: image, tokens, channels")
    rows = shape[1]
    side = math.isqrt(max(rows - 1, 0))
    if side and side * side == rows - 1:
        return side
    if math.isqrt(rows) ** 2 == rows:
        raise _unfit(f"a pos_embed of {rows} rows, none for the class token", "has one for it")
    raise _unfit(f"a pos_embed of {rows} rows", "has one for the class token and those of a square image")


def _mlp_ratio(shapes: Shapes, width: int) -> int:
    hidden = shapes.of("layers.0.ffn.layers.0.0.weight")[0]
    into_second = shapes.of("layers.0.ffn.layers.1.weight")[1]
    if hidden != into_second:
        raise _unfit(f"a gated hidden layer ({hidden} channels, then {into_second})", "has no gates")
    if hidden % width:
        raise _unfit(f"hidden layers of {hidden} channels", f"has a multiple of its {width} channels")
    return hidden // width


def _check_attention(shapes: Shapes, width: int) -> None:
    rows = shapes.of("layers.0.attn.attn.in_proj_weight")[0]
    if rows != 3 * width:
        raise _unfit(f"attention of {rows // 3} channels", f"has attention of all {width} channels")


def _check_scale(shapes: Shapes) -> None:
    """Check that a network of this size is not timm's first ViT-S, which has no biases of q, k and v."""
    own, biases = "blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias"
    if own in shapes.in_file and biases not in shapes.in_file:
        raise _unfit(
            "the size of timm's first ViT-S, which scales attention by 768**-0.5",
            "has no qk_scale and scales by 96**-0.5, the channels of a head",
        )


def _note_on_heads(letter: str | None, width: int) -> str:
    unknown = "the number of heads cannot be read from the weights"
    if letter == "S":
        return f"{unknown}: num_heads is that of DeiT's and timm's ViT-S; MoCo v3's has 12"
    if letter:
        return f"{unknown}: num_heads is that of all published ViT-{letter}"
    if width % _HEAD:
        return f"{unknown}: set num_heads to that of the network"
    return f"{unknown}: num_heads={width // _HEAD} is assumed, {_HEAD} channels each"


def _unfit(has: str, mmseg: str) -> CheckpointError:
    return CheckpointError(f"the weights have {has}: mmseg's VisionTransformer {mmseg}")

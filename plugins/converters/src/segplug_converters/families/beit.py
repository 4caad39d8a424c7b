"""``convert_weights beit``: BEiT and MAE of their authors, timm and transformers for mmseg's BEiT and MAE."""

from __future__ import annotations

from typing import Any

from segplug.errors import CheckpointError
from segplug_converters import Converter, Shapes, Variant
from segplug_converters.families.beit_layouts import MAE, TIMM, TIMM_SHARED
from segplug_converters.families.beit_positions import window_of
from segplug_converters.families.beit_transformers import BEITS, MAES

__all__ = ["provider"]

_PUBLISHED = {(768, 12, 12): "B", (1024, 24, 16): "L", (1280, 32, 16): "H"}
"""Channels, blocks and heads: the letter in the published name."""


def describe(shapes: Shapes) -> Variant:
    """Read the size of a BEiT or MAE from its embedding, blocks and table of relative positions."""
    width, channels, patch, _ = shapes.of("patch_embed.projection.weight")
    depth = shapes.count("layers.<n>.ffn.layers.1.weight")
    shapes.check_alike("layers.<n>.")
    rows, heads = shapes.of("layers.0.attn.relative_position_bias_table")
    image = window_of(rows) * patch
    settings: dict[str, Any] = {
        "type": "BEiT",
        "img_size": image,
        "patch_size": patch,
        "in_channels": channels,
        "embed_dims": width,
        "num_layers": depth,
        "num_heads": heads,
        "mlp_ratio": _mlp_ratio(shapes, width),
        "norm_cfg": {"type": "LN", "eps": 1e-6},
        "final_norm": "ln1.weight" in shapes,
    }
    is_mae = "pos_embed" in shapes
    if is_mae:
        settings.update(type="MAE", init_values=1.0)
    else:
        settings.update(qv_bias="layers.0.attn.q_bias" in shapes)
    family = "MAE" if is_mae else "BEiT"
    letter = _PUBLISHED.get((width, depth, heads))
    if letter is not None:
        return Variant(f"{family}-{letter}/{patch} at {image} pixels", settings)
    name = f"{family}, {width} channels, {depth} blocks, patch {patch}, at {image} pixels"
    assumed = f"the number of heads cannot be read from the weights: {heads} is assumed, one for 64 channels"
    return Variant(name, settings, (assumed,) if is_mae else ())


def _mlp_ratio(shapes: Shapes, width: int) -> int:
    hidden = shapes.of("layers.0.ffn.layers.0.0.weight")[0]
    if hidden % width:
        raise CheckpointError(
            f"{hidden} hidden channels do not fit mmseg's BEiT, which has a multiple of its {width} channels"
        )
    return hidden // width


provider = Converter(
    family="BEiT",
    about="BEiT and MAE of their authors, timm and transformers for mmseg's BEiT and MAE.",
    layouts=(TIMM, TIMM_SHARED, *BEITS, MAE, *MAES),
    describe=describe,
)

"""Reduced networks of mmsegmentation 1.x that use every rewritten form, for tests in minutes.

They have fewer layers and channels, but the same modules.
"""

from __future__ import annotations

from typing import Any

from matrix import sample
from matrix.families_mmseg1 import FAMILIES

__all__ = ["NEW", "SAMPLE"]

Options = dict[str, Any]

_DECODER = "model.decode_head.transformer_decoder"
_WIDTH, _QUERIES = 32, 10


def _sized(place: str, **sizes: Any) -> Options:
    return {f"{place}.{name}": value for name, value in sizes.items()}


_QUERY_HEAD = {
    "model.backbone.depth": 18,
    **_sized(
        "model.decode_head",
        in_channels=[64, 128, 256, 512],
        num_queries=_QUERIES,
        feat_channels=_WIDTH,
        out_channels=_WIDTH,
    ),
    "model.decode_head.positional_encoding.num_feats": _WIDTH // 2,
    f"{_DECODER}.layer_cfg.self_attn_cfg.embed_dims": _WIDTH,
    f"{_DECODER}.layer_cfg.cross_attn_cfg.embed_dims": _WIDTH,
    **_sized(f"{_DECODER}.layer_cfg.ffn_cfg", embed_dims=_WIDTH, feedforward_channels=48),
}
_PIXELS = "model.decode_head.pixel_decoder"
_DEFORMABLE = {
    f"{_DECODER}.num_layers": 4,  # each of the three maps, and the first again
    f"{_PIXELS}.encoder.num_layers": 2,
    f"{_PIXELS}.encoder.layer_cfg.self_attn_cfg.embed_dims": _WIDTH,
    **_sized(f"{_PIXELS}.encoder.layer_cfg.ffn_cfg", embed_dims=_WIDTH, feedforward_channels=48),
    f"{_PIXELS}.positional_encoding.num_feats": _WIDTH // 2,
}
_SAN = {
    **_sized("model.text_encoder", num_layers=1, embed_dims=32, output_dims=32, num_heads=2),
    "model.text_encoder.templates": ["a photo of a {}."],
    **_sized("model.image_encoder", embed_dims=32, num_heads=2, num_layers=3, out_indices=(0, 1, 2)),
    **_sized("model.decode_head.san_cfg", clip_channels=32, embed_dims=24, num_queries=_QUERIES),
    "model.decode_head.san_cfg.cfg_encoder.num_encode_layer": 3,
    **_sized("model.decode_head.san_cfg.cfg_decoder", num_heads=2, embed_channels=16, mlp_channels=16),
    **_sized(
        "model.decode_head.maskgen_cfg",
        sos_token_num=_QUERIES,
        embed_dims=32,
        num_heads=2,
        num_layers=2,
        out_dims=32,
    ),
}

NEW: dict[str, tuple[str, Options]] = {
    "ddrnet": (f"ddrnet/{FAMILIES['ddrnet'].config}", {}),
    "mask2former": (f"mask2former/{FAMILIES['mask2former'].config}", {**_QUERY_HEAD, **_DEFORMABLE}),
    "maskformer": (
        f"maskformer/{FAMILIES['maskformer'].config}",
        {**_QUERY_HEAD, f"{_DECODER}.num_layers": 2},
    ),
    "pidnet": (f"pidnet/{FAMILIES['pidnet'].config}", {}),
    "san": ("san/san-vit-b16_voc12aug-640x640.py", _SAN),
    "segnext": (f"segnext/{FAMILIES['segnext'].config}", {"model.backbone.depths": [1, 1, 1, 1]}),
}
"""Networks that 0.30 does not have: a config, relative to mmseg's configs, and the options to change."""

SAMPLE: dict[str, tuple[str, Options]] = {
    **{name: (f"{name}/{FAMILIES[name].config}", options) for name, (_, options) in sample.SAMPLE.items()},
    **NEW,
}

"""One config of each family of mmsegmentation 0.30, and the size that it is exported at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["FAMILIES", "WINDOW", "Case", "slides"]

SMALL = (128, 192)
"""A height and a different width, so small that a family takes about a minute."""

WINDOW = {
    "model.test_cfg.mode": "slide",
    "model.test_cfg.crop_size": (128, 160),
    "model.test_cfg.stride": (85, 107),
}
"""Options that switch any config to sliding-window inference."""


@dataclass(frozen=True)
class Case:
    """The export of one family."""

    config: str
    """Relative to the family's folder."""
    size: tuple[int, int] = SMALL
    """(height, width) to export a config of whole-image inference at."""
    window: Mapping[str, object] = field(default_factory=lambda: MappingProxyType(WINDOW))
    """Options that switch it to sliding windows; empty if the config has sliding windows itself."""
    randomised: bool = True
    """Whether every weight gets a random value; else it keeps the one that it is initialised with."""
    note: str = ""
    """What else the reader of the row has to know."""


def slides(config: str) -> Case:
    """A config that has sliding windows itself."""
    return Case(config, window={})


FAMILIES: dict[str, Case] = {
    "ann": Case("ann_r50-d8_512x512_80k_ade20k.py"),
    "apcnet": Case("apcnet_r50-d8_512x512_80k_ade20k.py"),
    "beit": slides("upernet_beit-base_8x2_640x640_160k_ade20k.py"),
    "bisenetv1": Case("bisenetv1_r18-d32_4x4_1024x1024_160k_cityscapes.py"),
    "bisenetv2": Case("bisenetv2_fcn_4x4_1024x1024_160k_cityscapes.py"),
    "ccnet": Case("ccnet_r50-d8_512x512_80k_ade20k.py"),
    "cgnet": Case("cgnet_680x680_60k_cityscapes.py"),
    "convnext": slides("upernet_convnext_tiny_fp16_512x512_160k_ade20k.py"),
    "danet": Case("danet_r50-d8_512x512_80k_ade20k.py"),
    "deeplabv3": Case("deeplabv3_r18-d8_512x1024_80k_cityscapes.py"),
    "deeplabv3plus": Case("deeplabv3plus_r18-d8_512x1024_80k_cityscapes.py"),
    "dmnet": Case("dmnet_r50-d8_512x512_80k_ade20k.py"),
    "dnlnet": Case("dnl_r50-d8_512x512_80k_ade20k.py"),
    "dpt": Case("dpt_vit-b16_512x512_160k_ade20k.py"),
    "emanet": Case("emanet_r50-d8_512x1024_80k_cityscapes.py"),
    "encnet": Case("encnet_r50-d8_512x512_80k_ade20k.py"),
    "erfnet": Case("erfnet_fcn_4x4_512x1024_160k_cityscapes.py"),
    "fastfcn": Case("fastfcn_r50-d32_jpu_enc_512x512_80k_ade20k.py"),
    "fastscnn": Case("fast_scnn_lr0.12_8x4_160k_cityscapes.py"),
    "fcn": Case("fcn_r18-d8_512x1024_80k_cityscapes.py"),
    "gcnet": Case("gcnet_r50-d8_512x512_80k_ade20k.py"),
    "hrnet": Case("fcn_hr18s_512x512_80k_ade20k.py"),
    "icnet": Case("icnet_r18-d8_832x832_80k_cityscapes.py"),
    "isanet": Case("isanet_r50-d8_512x512_80k_ade20k.py"),
    "knet": Case("knet_s3_fcn_r50-d8_8x2_512x512_adamw_80k_ade20k.py"),
    "mae": slides("upernet_mae-base_fp16_8x2_512x512_160k_ade20k.py"),
    "mobilenet_v2": Case("fcn_m-v2-d8_512x1024_80k_cityscapes.py"),
    "mobilenet_v3": Case(
        "lraspp_m-v3s-d8_scratch_512x1024_320k_cityscapes.py",
        size=(416, 544),
        window={**WINDOW, "model.test_cfg.crop_size": (400, 416), "model.test_cfg.stride": (267, 277)},
    ),
    "nonlocal_net": Case("nonlocal_r50-d8_512x512_80k_ade20k.py"),
    "ocrnet": Case("ocrnet_hr18s_512x512_80k_ade20k.py"),
    "point_rend": Case("pointrend_r50_512x512_160k_ade20k.py"),
    "poolformer": Case("fpn_poolformer_s12_8x4_512x512_40k_ade20k.py"),
    "psanet": Case("psanet_r50-d8_512x512_80k_ade20k.py"),
    "pspnet": Case("pspnet_r18-d8_512x1024_80k_cityscapes.py"),
    "resnest": Case("fcn_s101-d8_512x1024_80k_cityscapes.py"),
    "segformer": Case("segformer_mit-b0_512x512_160k_ade20k.py"),
    "segmenter": slides("segmenter_vit-t_mask_8x1_512x512_160k_ade20k.py"),
    "sem_fpn": Case("fpn_r50_512x512_160k_ade20k.py"),
    "setr": slides("setr_naive_512x512_160k_b16_ade20k.py"),
    "stdc": Case("stdc1_512x1024_80k_cityscapes.py"),
    "swin": Case("upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K.py"),
    "twins": Case("twins_svt-s_uperhead_8x2_512x512_160k_ade20k.py"),
    "unet": slides("fcn_unet_s5-d16_64x64_40k_drive.py"),
    "upernet": Case("upernet_r18_512x512_80k_ade20k.py"),
    "vit": Case("upernet_deit-s16_512x512_80k_ade20k.py"),
}

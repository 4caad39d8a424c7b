"""One config of each family of mmsegmentation 1.2, of the same network as that of 0.30 where both have it."""

from __future__ import annotations

from matrix.families import WINDOW, Case, slides

__all__ = ["FAMILIES", "LEFT_OUT"]

QUERIES = "needs mmdet. Its scores are sums over queries, not logits."
MMPRETRAIN = "needs mmpretrain."
TEXT = (
    "what the text encoder gives for the names of the classes is a constant of the network and of the file. "
    "The weights are those of the initialisation: with others that are random, all of its masks are empty."
)
BASES = (
    "mmseg draws random bases in each forward pass. Here the network and the file have the same ones, drawn "
    "once with a fixed seed."
)

FAMILIES: dict[str, Case] = {
    "ann": Case("ann_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "apcnet": Case("apcnet_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "beit": slides("beit-base_upernet_8xb2-160k_ade20k-640x640.py"),
    "bisenetv1": Case("bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py"),
    "bisenetv2": Case("bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py"),
    "ccnet": Case("ccnet_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "cgnet": Case("cgnet_fcn_4xb4-60k_cityscapes-680x680.py"),
    "convnext": Case("convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py", window={}, note=MMPRETRAIN),
    "danet": Case("danet_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "ddrnet": Case("ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py"),
    "deeplabv3": Case("deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py"),
    "deeplabv3plus": Case("deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py"),
    "dmnet": Case("dmnet_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "dnlnet": Case("dnl_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "dpt": Case("dpt_vit-b16_8xb2-160k_ade20k-512x512.py"),
    "emanet": Case("emanet_r50-d8_4xb2-80k_cityscapes-512x1024.py"),
    "encnet": Case("encnet_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "erfnet": Case("erfnet_fcn_4xb4-160k_cityscapes-512x1024.py"),
    "fastfcn": Case("fastfcn_r50-d32_jpu_enc_4xb4-80k_ade20k-512x512.py"),
    "fastscnn": Case("fast_scnn_8xb4-160k_cityscapes-512x1024.py"),
    "fcn": Case("fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py"),
    "gcnet": Case("gcnet_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "hrnet": Case("fcn_hr18s_4xb4-80k_ade20k-512x512.py"),
    "icnet": Case("icnet_r18-d8_4xb2-80k_cityscapes-832x832.py"),
    "isanet": Case("isanet_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "knet": Case("knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py"),
    "mae": slides("mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py"),
    "mask2former": Case("mask2former_r50_8xb2-160k_ade20k-512x512.py", note=QUERIES),
    "maskformer": Case("maskformer_r50-d32_8xb2-160k_ade20k-512x512.py", note=QUERIES),
    "mobilenet_v2": Case("mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024.py"),
    "mobilenet_v3": Case(
        "mobilenet-v3-d8-scratch-s_lraspp_4xb4-320k_cityscapes-512x1024.py",
        size=(416, 544),
        window={**WINDOW, "model.test_cfg.crop_size": (400, 416), "model.test_cfg.stride": (267, 277)},
    ),
    "nonlocal_net": Case("nonlocal_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "ocrnet": Case("ocrnet_hr18s_4xb4-80k_ade20k-512x512.py"),
    "pidnet": Case("pidnet-s_2xb6-120k_1024x1024-cityscapes.py"),
    "point_rend": Case("pointrend_r50_4xb4-160k_ade20k-512x512.py"),
    "poolformer": Case("fpn_poolformer_s12_8xb4-40k_ade20k-512x512.py", note=MMPRETRAIN),
    "psanet": Case("psanet_r50-d8_4xb4-80k_ade20k-512x512.py"),
    "pspnet": Case("pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py"),
    "resnest": Case("resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024.py"),
    "san": Case(
        "san-vit-b16_coco-stuff164k-640x640.py",
        randomised=False,
        note=TEXT,
    ),
    "segformer": Case("segformer_mit-b0_8xb2-160k_ade20k-512x512.py"),
    "segmenter": slides("segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py"),
    "segnext": Case(
        "segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py",
        note=BASES,
    ),
    "sem_fpn": Case("fpn_r50_4xb4-160k_ade20k-512x512.py"),
    "setr": slides("setr_vit-l_naive_8xb2-160k_ade20k-512x512.py"),
    "stdc": Case("stdc1_4xb12-80k_cityscapes-512x1024.py"),
    "swin": Case("swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py"),
    "twins": Case("twins_svt-s_uperhead_8xb2-160k_ade20k-512x512.py"),
    "unet": slides("unet-s5-d16_fcn_4xb4-40k_drive-64x64.py"),
    "upernet": Case("upernet_r18_4xb4-80k_ade20k-512x512.py"),
    "vit": Case("vit_deit-s16_upernet_8xb2-80k_ade20k-512x512.py"),
}

LEFT_OUT: dict[str, str] = {
    "dsdl": "configs of data sets alone; their network is that of deeplabv3",
    "vpd": "a depth estimator, not a segmentor",
}
"""Folders of configs that are not measured, and why."""

"""Reduced networks that use every rewritten form in ``segplug_mmseg.exportable``, for tests in minutes.

They have fewer layers and channels, but the same modules. ``python -m matrix`` exports whole networks.
"""

from __future__ import annotations

from typing import Any

__all__ = ["SAMPLE", "SLIDING"]

Options = dict[str, Any]

_R18 = {"model.backbone.depth": 18}
_FPN = {"model.neck.in_channels": [64, 128, 256, 512], "model.neck.out_channels": 16}
_VIT = {
    "model.backbone.embed_dims": 16,
    "model.backbone.num_heads": 2,
    "model.backbone.num_layers": 2,
    "model.test_cfg": {"mode": "whole"},
}

_SIGMOID = {"out_channels": 1, "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": True}}
"""One channel for two classes."""


def _channels(count: int, **others: Any) -> Options:
    """Options of the decode head: its channels, and others."""
    options = {"channels": count, **others}
    return {f"model.decode_head.{name}": value for name, value in options.items()}


_KERNEL_UPDATE = {
    "type": "KernelUpdateHead",
    "num_classes": 150,
    "num_heads": 2,
    "num_mask_fcs": 1,
    "feedforward_channels": 32,
    "in_channels": 16,
    "out_channels": 16,
    "feat_transform_cfg": {"conv_cfg": {"type": "Conv2d"}, "act_cfg": None},
    "kernel_updator_cfg": {
        "type": "KernelUpdator",
        "in_channels": 8,
        "feat_channels": 8,
        "out_channels": 8,
        "act_cfg": {"type": "ReLU", "inplace": True},
        "norm_cfg": {"type": "LN"},
    },
}

SAMPLE: dict[str, tuple[str, Options]] = {
    "beit": (
        "beit/upernet_beit-base_8x2_640x640_160k_ade20k.py",
        {
            **_VIT,
            "model.backbone.img_size": (96, 128),
            "model.test_cfg": {"mode": "slide", "crop_size": (96, 128), "stride": (64, 96)},
            "model.backbone.num_layers": 4,
            "model.backbone.out_indices": (0, 1, 2, 3),
            "model.neck.embed_dim": 16,
            **_channels(16, in_channels=[16] * 4),
        },
    ),
    "cgnet": ("cgnet/cgnet_512x1024_60k_cityscapes.py", {"model.backbone.num_blocks": (2, 2)}),
    "dmnet": ("dmnet/dmnet_r50-d8_512x512_80k_ade20k.py", {**_R18, **_channels(16, in_channels=512)}),
    "dpt": (
        "dpt/dpt_vit-b16_512x512_160k_ade20k.py",
        {
            **_VIT,
            "model.backbone.num_layers": 4,
            "model.backbone.out_indices": (0, 1, 2, 3),
            **_channels(8, in_channels=(16,) * 4, embed_dims=16, post_process_channels=[4, 8, 8, 8]),
        },
    ),
    "encnet": (
        "encnet/encnet_r50-d8_512x512_80k_ade20k.py",
        {**_R18, **_channels(16, in_channels=(128, 256, 512), num_codes=8)},
    ),
    "erfnet": ("erfnet/erfnet_fcn_4x4_512x1024_160k_cityscapes.py", {}),
    "fastscnn": ("fastscnn/fast_scnn_lr0.12_8x4_160k_cityscapes.py", {}),
    "isanet": (
        "isanet/isanet_r50-d8_512x512_80k_ade20k.py",
        {**_R18, **_channels(16, in_channels=512, isa_channels=8)},
    ),
    "knet": (
        "knet/knet_s3_fcn_r50-d8_8x2_512x512_adamw_80k_ade20k.py",
        {
            **_R18,
            "model.decode_head.num_stages": 2,
            "model.decode_head.kernel_update_head": [_KERNEL_UPDATE, _KERNEL_UPDATE],
            "model.decode_head.kernel_generate_head.in_channels": 512,
            "model.decode_head.kernel_generate_head.channels": 16,
        },
    ),
    "ocrnet": (
        "ocrnet/ocrnet_hr18s_512x512_80k_ade20k.py",
        {
            "model.backbone.extra.stage3.num_modules": 1,
            "model.backbone.extra.stage4.num_modules": 1,
            "model.decode_head.1.channels": 16,
            "model.decode_head.1.ocr_channels": 8,
        },
    ),
    "point_rend": (
        "point_rend/pointrend_r50_512x512_160k_ade20k.py",
        {
            **_R18,
            **_FPN,
            "model.decode_head.0.in_channels": [16] * 4,
            "model.decode_head.0.channels": 16,
            "model.decode_head.1.in_channels": [16],
            "model.decode_head.1.channels": 16,
        },
    ),
    "psanet": (
        "psanet/psanet_r50-d8_512x512_80k_ade20k.py",
        {**_R18, **_channels(16, in_channels=512, mask_size=(13, 15))},
    ),
    "pspnet": ("pspnet/pspnet_r18-d8_512x1024_80k_cityscapes.py", _channels(16)),
    "segformer": (
        "segformer/segformer_mit-b0_512x512_160k_ade20k.py",
        {"model.backbone.num_layers": (1, 1, 1, 1), **_channels(16)},
    ),
    "segmenter": (
        "segmenter/segmenter_vit-t_mask_8x1_512x512_160k_ade20k.py",
        {**_VIT, **_channels(16, in_channels=16, embed_dims=16, num_heads=2)},
    ),
    "sem_fpn": (
        "sem_fpn/fpn_r50_512x512_160k_ade20k.py",
        {**_R18, **_FPN, **_channels(16, in_channels=[16] * 4)},
    ),
    "setr": (
        "setr/setr_naive_512x512_160k_b16_ade20k.py",
        {
            **_VIT,
            "model.backbone.out_indices": (1,),
            **_channels(8, in_channels=16, in_index=0),
        },
    ),
    "swin": (
        "swin/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K.py",
        {
            "model.backbone.embed_dims": 12,
            "model.backbone.depths": (2, 2, 1, 1),
            **_channels(16, in_channels=[12, 24, 48, 96]),
        },
    ),
    "twins": (
        "twins/twins_svt-s_uperhead_8x2_512x512_160k_ade20k.py",
        {
            "model.backbone.embed_dims": [8, 16, 24, 32],
            "model.backbone.num_heads": [1, 2, 2, 2],
            "model.backbone.depths": [2, 1, 1, 1],
            **_channels(16, in_channels=[8, 16, 24, 32]),
        },
    ),
    "unet": (
        "unet/fcn_unet_s5-d16_64x64_40k_drive.py",
        {
            "model.backbone.base_channels": 8,
            **_channels(8, in_channels=8, **_SIGMOID),
            "model.test_cfg": {"mode": "whole"},
        },
    ),
}
"""For each name a config, relative to mmseg's configs, and the options to change in it."""

SLIDING: dict[str, Options] = {
    name: {"model.test_cfg": {"mode": "slide", "crop_size": (96, 128), "stride": (64, 85)}}
    for name in ("cgnet", "segmenter", "unet")
}
"""The networks that are also tested with sliding windows, and the options for it."""

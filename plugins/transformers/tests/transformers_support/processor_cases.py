"""Settings of processors, small ones, whose results are compared with the processors of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CASES", "TORCHVISION_ONLY", "images", "settings_of"]

_WITHOUT = {"do_resize": False}
_BOTH = {"do_resize": False, "do_normalize": False}

CASES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "SegformerImageProcessor": {
        "plain": {"size": {"height": 40, "width": 56}},
        "old": {"size": 48, "feature_extractor_type": "SegformerFeatureExtractor", "reduce_labels": True},
        "list": {"size": [33, 47], "resample": 3},
        "short": {"size": 31, "default_to_square": False, "resample": 1},
        "limited": {"size": {"shortest_edge": 40, "longest_edge": 61}},
        "within": {"size": {"max_height": 45, "max_width": 70}, "do_normalize": False},
        "colours": {
            "do_resize": False,
            "do_rescale": False,
            "image_mean": [120, 110.5, 100],
            "image_std": 57.5,
        },
        "nearest": {"size": [43, 57], "resample": 0},
        "factor": {"size": 48, "rescale_factor": 0.01, "image_mean": 0.3, "image_std": [0.2, 0.3, 0.4]},
        "ignored": {"size": 48, "do_center_crop": True, "crop_size": 10, "do_pad": True, "pad_size": 90},
    },
    "BeitImageProcessor": {
        "plain": {"size": 48},
        "nulls": {
            "do_resize": None,
            "do_normalize": None,
            "size": None,
            "resample": None,
            "image_mean": None,
        },
        "crop": {"size": 64, "do_center_crop": True, "crop_size": 48},
        "large crop": {"size": [41, 52], "do_center_crop": True, "crop_size": {"height": 64, "width": 49}},
        "crop alone": {"do_resize": False, "do_center_crop": True, "crop_size": [50, 50]},
    },
    "DPTImageProcessor": {
        "plain": {"size": 48},
        "multiple": {"size": 50, "ensure_multiple_of": 16},
        "ratio": {"size": 64, "keep_aspect_ratio": True, "ensure_multiple_of": 32},
        "ratio alone": {"size": {"height": 50, "width": 70}, "keep_aspect_ratio": True, "resample": 2},
        "pad": {"size": [45, 50], "do_pad": True, "size_divisor": 32},
        "crop": {"size": 48, "do_center_crop": True, "crop_size": 32},
    },
    "MobileNetV2ImageProcessor": {
        "plain": {"size": {"shortest_edge": 40}, "crop_size": 32},
        "old": {"size": 40, "crop_size": [30, 40]},
        "large crop": {"size": 40, "crop_size": {"height": 51, "width": 45}},
        "no crop": {"size": 40, "do_center_crop": None, "crop_size": None},
    },
    "MobileViTImageProcessor": {
        "plain": {"size": {"shortest_edge": 40}, "crop_size": 32},
        "large crop": {"size": 35, "crop_size": 46, "do_normalize": True, "image_mean": [0.5] * 3},
        "no flip": {"size": 40, "crop_size": 32, "do_flip_channel_order": False, "resample": 2},
        "no scale": {"size": 40, "crop_size": 32, "do_rescale": False},
    },
    "Sapiens2ImageProcessor": {
        "plain": {"size": {"height": 64, "width": 48}},
        "pad": {"size": {"height": 64, "width": 48}, "do_pad": True},
        "pad, crop": {"size": [51, 62], "do_pad": True, "do_center_crop": True, "crop_size": 40},
        "pad alone": {"do_resize": False, "do_pad": True},
    },
    "Tipsv2DptImageProcessor": {
        "plain": {"size": 56},
        "normalised": {"size": 56, "do_normalize": True, "image_mean": 0.5, "image_std": 0.5},
        "pad": {"size": [40, 50], "do_pad": True, "pad_size": 64, "do_center_crop": True, "crop_size": 36},
        "pad to nothing": {"size": 56, "do_pad": True},
    },
    "MaskFormerImageProcessor": {
        "plain": {"size": {"shortest_edge": 64, "longest_edge": 100}},
        "old": {"size": 64, "max_size": 90, "size_divisibility": 0, "size_divisor": 0, "_max_size": 90},
        "default size": {"size": None, "max_size": 800},
        "null": {"size": 40, "default_to_square": None, "max_size": 60},
        "pad": {"size": [50, 60], "size_divisor": 8, "pad_size": {"height": 80, "width": 90}},
        "within": {"size": {"max_height": 70, "max_width": 90}, "size_divisor": 1},
    },
    "Mask2FormerImageProcessor": {
        "plain": {"size": {"shortest_edge": 60, "longest_edge": 90}},
        "no multiple": {"size": {"height": 50, "width": 70}, "size_divisor": -1},
        "no resize": _WITHOUT,
    },
    "OneFormerImageProcessor": {
        "plain": {"size": {"shortest_edge": 60, "longest_edge": 90}},
        "old": {"size": 44, "max_size": 50, "num_text": 3},
        "square": {"size": 44, "default_to_square": True},
        "null": {"size": 44, "default_to_square": None},
    },
    "EomtImageProcessor": {
        "windows": {"size": {"shortest_edge": 40, "longest_edge": None}, "do_split_image": True},
        "pad": {"size": {"shortest_edge": 64, "longest_edge": 64}, "do_pad": True},
        "neither": {"size": {"shortest_edge": 64, "longest_edge": 64}},
        "pad alone": {**_WITHOUT, "size": {"shortest_edge": 110, "longest_edge": 110}, "do_pad": True},
    },
    "DetrImageProcessor": {
        "plain": {"size": {"shortest_edge": 60, "longest_edge": 90}},
        "old": {"size": 60, "max_size": 80, "format": "coco_detection"},
        "older": {"size": 60, "pad_and_return_pixel_mask": False, "pad_size": {"height": 9, "width": 9}},
        "fixed": {"size": {"height": 50, "width": 70}, "do_pad": False},
        "null": {"size": {"height": 50, "width": 70}, "do_pad": None, "pad_size": 99},
        "bare": {**_BOTH, "do_rescale": True},
    },
    "VideomtVideoProcessor": {
        "plain": {"size": {"height": 48, "width": 64}},
        "crop": {"size": {"shortest_edge": 50}, "do_center_crop": True, "crop_size": 41},
    },
}
"""The settings of each processor by a name for them."""

TORCHVISION_ONLY = ("Sapiens2ImageProcessor", "Tipsv2DptImageProcessor", "VideomtVideoProcessor")


def settings_of(torchvision: bool) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Class, name and settings of each case that one of the two forms has."""
    for processor, cases in CASES.items():
        if torchvision or processor not in TORCHVISION_ONLY:
            for name, settings in cases.items():
                yield processor, name, settings


def images() -> list[npt.NDArray[np.uint8]]:
    """RGB images ``(H, W, 3)`` of noise: no resize of them hides an error. Wide, high, and of odd sizes."""
    random = np.random.default_rng(5)
    return [
        random.integers(0, 256, (*size, 3), np.uint8) for size in ((53, 81), (97, 61), (48, 48), (37, 104))
    ]

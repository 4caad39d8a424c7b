"""The processors of transformers whose settings are read: a table that needs no import of transformers.

A processor fills what ``preprocessor_config.json`` does not say with the defaults of its class. The tables
were read in transformers 5.23, and a test compares them with the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["PROCESSORS", "ProcessorClass"]

_IMAGENET: Mapping[str, Any] = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_normalize": True,
}
_HALF: Mapping[str, Any] = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_normalize": True,
}
_RESCALED: Mapping[str, Any] = {"do_rescale": True, "rescale_factor": 1 / 255}
_BILINEAR, _BICUBIC = 2, 3

_COLOURS = frozenset({"do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"})
_RESIZED = frozenset({"do_resize", "size", "resample"})
_USUAL = _COLOURS | _RESIZED | {"default_to_square", "do_convert_rgb"}
_CROPPED = frozenset({"do_center_crop", "crop_size"})
_PADDED = frozenset({"do_pad", "pad_size"})
_REDUCED = frozenset({"do_reduce_labels", "reduce_labels"})


@dataclass(frozen=True)
class ProcessorClass:
    """A processor of transformers, without ``Pil`` at the end of its name."""

    name: str
    defaults: Mapping[str, Any]
    """The values of what a file does not say."""
    reads: frozenset[str]
    """The settings that change the images or the label maps. What else a file says, it ignores."""
    torchvision_reads: frozenset[str] = frozenset()
    """What only the form that uses torchvision reads."""
    has_pil: bool = True
    """Whether there is a form of it that uses Pillow."""
    default_to_square: bool = True
    """What one number as ``size`` means: both edges, or the short edge."""
    serves: Literal["semantic", "queries"] = "semantic"
    """Of which kind of network it takes the output."""


def _edges(shortest: int, longest: int | None = None) -> dict[str, int]:
    return {"shortest_edge": shortest} | ({} if longest is None else {"longest_edge": longest})


def _area(height: int, width: int) -> dict[str, int]:
    return {"height": height, "width": width}


def _resized(size: Mapping[str, int], resample: int) -> dict[str, Any]:
    return {**_RESCALED, "do_resize": True, "size": size, "resample": resample}


_QUERIES = {**_resized(_edges(800, 1333), _BILINEAR), **_IMAGENET}

_TABLE = (
    ProcessorClass(
        "SegformerImageProcessor",
        {**_resized(_area(512, 512), _BILINEAR), **_IMAGENET},
        _USUAL | _REDUCED,
    ),
    ProcessorClass(
        "BeitImageProcessor",
        {
            **_resized(_area(224, 224), _BICUBIC),
            **_HALF,
            "do_center_crop": False,
            "crop_size": _area(224, 224),
        },
        _USUAL | _CROPPED | _REDUCED,
    ),
    ProcessorClass(
        "DPTImageProcessor",
        {
            **_resized(_area(384, 384), _BICUBIC),
            **_HALF,
            "ensure_multiple_of": 1,
            "keep_aspect_ratio": False,
            "do_pad": False,
        },
        _USUAL | _REDUCED | {"ensure_multiple_of", "keep_aspect_ratio", "do_pad", "size_divisor"},
        torchvision_reads=_CROPPED,
    ),
    ProcessorClass(
        "MobileNetV2ImageProcessor",
        {**_resized(_edges(256), _BILINEAR), **_HALF, "do_center_crop": True, "crop_size": _area(224, 224)},
        _USUAL | _CROPPED | _REDUCED,
        default_to_square=False,
    ),
    ProcessorClass(
        "MobileViTImageProcessor",
        {
            **_resized(_edges(224), _BICUBIC),
            "do_center_crop": True,
            "crop_size": _area(256, 256),
            "do_flip_channel_order": True,
        },
        _RESIZED
        | _CROPPED
        | _REDUCED
        | {"do_rescale", "rescale_factor", "default_to_square", "do_convert_rgb", "do_flip_channel_order"},
        default_to_square=False,
    ),
    ProcessorClass(
        "Sapiens2ImageProcessor",
        {
            **_resized(_area(1024, 768), _BILINEAR),
            **_IMAGENET,
            "do_center_crop": False,
            "crop_size": _area(224, 224),
            "do_pad": False,
        },
        _USUAL | _CROPPED | _REDUCED | {"do_pad"},
        has_pil=False,
    ),
    ProcessorClass(
        "Tipsv2DptImageProcessor",
        {**_resized(_area(448, 448), _BILINEAR), "do_normalize": False, "do_convert_rgb": True},
        _USUAL | _CROPPED | _PADDED,
        has_pil=False,
    ),
    ProcessorClass(
        "MaskFormerImageProcessor",
        {**_QUERIES, "size_divisor": 32},
        _USUAL | _REDUCED | {"size_divisor", "pad_size", "max_size"},
        default_to_square=False,
        serves="queries",
    ),
    ProcessorClass(
        "Mask2FormerImageProcessor",
        {**_QUERIES, "size_divisor": 32},
        _USUAL | _REDUCED | {"size_divisor", "pad_size", "max_size"},
        default_to_square=False,
        serves="queries",
    ),
    ProcessorClass(
        "OneFormerImageProcessor",
        {**_QUERIES, "do_convert_rgb": True},
        _USUAL | _REDUCED,
        default_to_square=False,
        serves="queries",
    ),
    ProcessorClass(
        "EomtImageProcessor",
        {
            **_resized(_edges(640, 640), _BILINEAR),
            **_IMAGENET,
            "do_split_image": False,
            "do_pad": False,
        },
        _USUAL | {"do_split_image", "do_pad", "ignore_index"},
        default_to_square=False,
        serves="queries",
    ),
    ProcessorClass(
        "DetrImageProcessor",
        {**_QUERIES, "do_pad": True},
        _USUAL | _PADDED | {"max_size", "pad_and_return_pixel_mask"},
        default_to_square=False,
        serves="queries",
    ),
    ProcessorClass(
        "VideomtVideoProcessor",
        {
            **_resized(_area(640, 640), _BILINEAR),
            **_IMAGENET,
            "do_center_crop": False,
            "do_convert_rgb": True,
        },
        _USUAL | _CROPPED,
        has_pil=False,
        serves="queries",
    ),
)

PROCESSORS: Mapping[str, ProcessorClass] = {processor.name: processor for processor in _TABLE}
"""The processors by their names."""

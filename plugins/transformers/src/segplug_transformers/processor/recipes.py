"""What each processor does with an image, in its order. Read in the sources of transformers 5.23."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from segplug.preprocessing import Step
from segplug_transformers.processor.areas import centre_crop, pad_to, pad_to_multiple
from segplug_transformers.processor.colours import flipped, in_order, normalised, rescaled
from segplug_transformers.processor.resizing import resize_by, resize_like_dpt
from segplug_transformers.processor.settings import Settings
from segplug_transformers.processor.sizes import area_of, query_size, usual_size
from segplug_transformers.processor.windows import eomt_padding

__all__ = ["RECIPES"]

Recipe = Callable[[Settings], tuple[Step, ...]]


def _colours(settings: Settings) -> tuple[Step, ...]:
    return (*in_order(settings), *normalised(settings))


def _resized(settings: Settings) -> tuple[Step, ...]:
    return (resize_by(settings, usual_size(settings)),) if settings.flag("do_resize") else ()


def _plain(settings: Settings) -> tuple[Step, ...]:
    """Segformer, and OneFormer."""
    return (*_resized(settings), *_colours(settings))


def _cropped(settings: Settings) -> tuple[Step, ...]:
    """BEiT, MobileNetV2, and VidEoMT."""
    return (*_resized(settings), *centre_crop(settings), *_colours(settings))


def _tips(settings: Settings) -> tuple[Step, ...]:
    """TIPSv2: what a processor does that changes nothing of its base class."""
    steps = _cropped(settings)
    if settings.flag("do_pad") and settings.get("pad_size") is not None:
        return (*steps, pad_to(area_of(settings, "pad_size")))
    return steps


def _mobilevit(settings: Settings) -> tuple[Step, ...]:
    """MobileViT normalises nothing, whatever its file says."""
    return (*_resized(settings), *centre_crop(settings), *flipped(settings), *rescaled(settings))


def _dpt(settings: Settings) -> tuple[Step, ...]:
    """DPT pads after it has normalised. Only torchvision's form cuts out the centre."""
    resized = (resize_like_dpt(settings, usual_size(settings)),) if settings.flag("do_resize") else ()
    crop = centre_crop(settings) if settings.backend == "torchvision" else ()
    return (*resized, *crop, *_colours(settings), *pad_to_multiple(settings))


def _sapiens2(settings: Settings) -> tuple[Step, ...]:
    """Sapiens2 pads as a part of its resize."""
    return (*_sapiens2_resized(settings), *centre_crop(settings), *_colours(settings))


def _sapiens2_resized(settings: Settings) -> tuple[Step, ...]:
    if not settings.flag("do_resize") or not settings.flag("do_pad"):
        return _resized(settings)
    height, width = area_of(settings, "size")
    resize = resize_by(settings, {"max_height": height, "max_width": width})
    return (resize, pad_to((height, width), centred=True))


def _maskformer(settings: Settings) -> tuple[Step, ...]:
    """MaskFormer and Mask2Former raise both edges to multiples in their resize, and pad to ``pad_size``."""
    resized: tuple[Step, ...] = ()
    if settings.flag("do_resize"):
        divisor = settings.whole("size_divisor")
        if divisor is None:
            raise settings.refusal("size_divisor is null", hint="0 is for none")
        size = query_size(settings, settings.given.get("max_size"), limits_default=True)
        resized = (resize_by(settings, size, multiple_of=max(divisor, 0) or None, needs_longest=True),)
    has_pad = settings.get("pad_size") is not None
    pad = (pad_to(area_of(settings, "pad_size")),) if has_pad else ()
    return (*resized, *_colours(settings), *pad)


def _eomt(settings: Settings) -> tuple[Step, ...]:
    """EoMT pads before it normalises. Windows are cut later."""
    return (*_resized(settings), *eomt_padding(settings), *_colours(settings))


def _detr(settings: Settings) -> tuple[Step, ...]:
    """DETR pads to the largest image of a batch, which leaves one image as it is."""
    resized: tuple[Step, ...] = ()
    if settings.flag("do_resize"):
        size = query_size(settings, settings.given.get("max_size", 1333))
        resized = (resize_by(settings, size, needs_longest=True),)
    if _detr_pads(settings) and settings.get("pad_size") is not None:
        raise settings.refusal(
            "DETR is told which pixels are padding, and its output depends on it, but an exported network "
            "takes an image only",
            hint="leave pad_size out: --cfg-options preprocessor.pad_size=null",
        )
    return (*resized, *_colours(settings))


def _detr_pads(settings: Settings) -> bool:
    old = "do_pad" not in settings.given and "pad_and_return_pixel_mask" in settings.given
    return settings.flag("pad_and_return_pixel_mask" if old else "do_pad")


RECIPES: Mapping[str, Recipe] = {
    "SegformerImageProcessor": _plain,
    "BeitImageProcessor": _cropped,
    "DPTImageProcessor": _dpt,
    "MobileNetV2ImageProcessor": _cropped,
    "MobileViTImageProcessor": _mobilevit,
    "Sapiens2ImageProcessor": _sapiens2,
    "Tipsv2DptImageProcessor": _tips,
    "MaskFormerImageProcessor": _maskformer,
    "Mask2FormerImageProcessor": _maskformer,
    "OneFormerImageProcessor": _plain,
    "EomtImageProcessor": _eomt,
    "DetrImageProcessor": _detr,
    "VideomtVideoProcessor": _cropped,
}
"""The steps of each processor, for images that are decoded to BGR."""

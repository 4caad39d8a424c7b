"""mmseg's transforms as steps of preprocessing, with mmseg's own numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, cast

from segplug.preprocessing import Flip, Pad, Resize, Step
from segplug_mmseg.pipeline.missing import Missing
from segplug_mmseg.pipeline.normalising import normalised
from segplug_mmseg.pipeline.numbers import UNLIMITED, pair, positive, read_scales, scaled
from segplug_mmseg.pipeline.padding import pad_value
from segplug_mmseg.pipeline.transforms import transform_name
from segplug_mmseg.v0.pipeline.augmentation import View
from segplug_mmseg.v0.pipeline.loading import is_mmsegs

__all__ = ["Translation", "has_no_effect"]

_NO_EFFECT = {
    "Collect",
    "DefaultFormatBundle",
    "ImageToTensor",
    "LoadAnnotations",
    "SegRescale",
    "ToDataContainer",
    "ToTensor",
}
"""They pack the image, or change masks only, which a test pipeline does not load."""

_BY_CHANCE = {"RandomCutOut", "RandomMosaic", "RandomRotate"}
"""They do something with a probability ``prob``."""

_FILTERS = ("nearest", "bilinear", "bicubic", "area", "lanczos")
Filter = Literal["nearest", "bilinear", "bicubic", "area", "lanczos"]


class Translation:
    """Translates the transforms of one view, one after the other, and keeps what they leave for the next.

    Args:
        channels: Channels of the images.
        missing: Gets what cannot be expressed.
    """

    def __init__(self, channels: int, missing: Missing) -> None:
        self.steps: list[Step] = []
        self._channels = channels
        self._missing = missing
        self._view: View | None = None
        self._earlier: Resize | None = None  # mmseg keeps the scale of a Resize for the next one
        self._changed = False  # whether the size changed since mmseg computed a view's scale
        self._flipped: bool | None = None  # what the first RandomFlip does; None: there was none

    def enter(self, view: View) -> None:
        """Go on with the transforms inside a ``MultiScaleFlipAug``."""
        self._view, self._earlier, self._changed = view, None, False
        if self._flipped:
            self._missing.leave_out("RandomFlip before MultiScaleFlipAug")
            self.steps = [step for step in self.steps if not isinstance(step, Flip)]

    def add(self, transform: Any) -> None:
        """Translate one transform.

        Args:
            transform: Its settings, or a callable.

        Raises:
            ModelError: it cannot be expressed, or mmseg fails with its settings.
            TypeError, ValueError, LookupError: a setting cannot be read.
        """
        name = transform_name(transform)
        if has_no_effect(transform):
            return
        if name not in self._TRANSLATORS or not isinstance(transform, dict) or not is_mmsegs(transform):
            self._missing.leave_out(name)
            return
        translate, known = self._TRANSLATORS[name]
        for key in transform:
            if key not in ("type", *known):
                raise ValueError(f"{name} has no setting {key!r}")
        translate(self, transform)

    def _resize(self, transform: dict[str, Any]) -> None:
        keep_ratio = bool(transform.get("keep_ratio", True))
        least = transform.get("min_size") if keep_ratio else None
        if self._earlier is not None and (self._earlier.scale is None or self._earlier.min_size is not None):
            self._missing.leave_out("a second Resize, whose scale depends on the first one's image")
            return
        if self._view is not None and self._view.scale is None and self._changed:
            self._missing.leave_out("Resize by img_ratios after a transform that changes the size")
            return
        scale, ratio = self._scale(transform)
        if scale and max(scale) == UNLIMITED and not keep_ratio:
            raise ValueError("img_scale is infinite, which needs keep_ratio=True")
        self._earlier = Resize(
            scale=scale,
            fit="inside" if keep_ratio else "exact",
            ratio=1.0 if scale else ratio,
            min_size=None if least is None else positive(least),
        )
        self._change_size(self._earlier)

    def _scale(self, transform: dict[str, Any]) -> tuple[tuple[int, int] | None, float]:
        """Scale and ratio of a ``Resize``: of an earlier one, of the view, or its own."""
        if self._earlier is not None:
            return self._earlier.scale, 1.0
        if self._view is not None:
            return self._view.scale, self._view.ratio
        scales, ratios = read_scales(transform.get("img_scale")), transform.get("ratio_range") or (1.0, 1.0)
        ratio = float(ratios[0])
        scale = scaled(scales[0], ratio) if scales else None
        if len(scales) > 1 or ratios[0] != ratios[1]:
            used = f"{scale[0]}x{scale[1]}" if scale else f"{ratio:g} times the image's own size"
            self._missing.note("resizes at random", f"Resize uses its first scale, {used}")
        return scale, ratio

    def _resize_to_multiple(self, transform: dict[str, Any]) -> None:
        width, height = pair(transform.get("size_divisor", 32))
        name = transform.get("interpolation") or "bilinear"
        if name not in _FILTERS:
            raise ValueError(f"ResizeToMultiple has interpolation={name!r}, none of {', '.join(_FILTERS)}")
        if width != height:
            self._missing.leave_out("ResizeToMultiple with two divisors")
            return
        self._change_size(Resize(multiple_of=width, filter=cast(Filter, name)))

    def _pad(self, transform: dict[str, Any]) -> None:
        size, divisor = transform.get("size"), transform.get("size_divisor")
        if (size is None) == (divisor is None):
            raise ValueError("Pad needs either size or size_divisor")
        value = pad_value(transform.get("pad_val", 0), self._channels)
        if size is not None:
            self._change_size(Pad(size=pair(size), value=value))
        else:
            self._change_size(Pad(divisor=positive(divisor), value=value))

    def _random_flip(self, transform: dict[str, Any]) -> None:
        if self._view is not None:
            if self._view.flip is not None:
                self.steps.append(Flip(self._view.flip))
            return
        chance = transform.get("prob", transform.get("flip_ratio")) or 0
        direction = transform.get("direction", "horizontal")
        if direction not in ("horizontal", "vertical"):
            raise ValueError(f"RandomFlip has the direction {direction!r}")
        if self._flipped is not None:  # the first one decides for all
            if self._flipped:
                self._missing.leave_out("a second RandomFlip")
            return
        self._flipped = chance == 1
        if self._flipped:
            self.steps.append(Flip(direction))
        elif chance:
            self._missing.leave_out(f"RandomFlip(prob={chance})")

    def _normalize(self, transform: dict[str, Any]) -> None:
        mean, std, to_rgb = transform["mean"], transform["std"], bool(transform.get("to_rgb", True))
        self.steps += normalised(mean, std, to_rgb=to_rgb, channels=self._channels)

    def _change_size(self, step: Step) -> None:
        self.steps.append(step)
        self._changed = True

    _TRANSLATORS: ClassVar[
        Mapping[str, tuple[Callable[[Translation, dict[str, Any]], None], tuple[str, ...]]]
    ] = {
        "Normalize": (_normalize, ("mean", "std", "to_rgb")),
        "Pad": (_pad, ("size", "size_divisor", "pad_val", "seg_pad_val")),
        "RandomFlip": (_random_flip, ("prob", "flip_ratio", "direction")),
        "Resize": (_resize, ("img_scale", "multiscale_mode", "ratio_range", "keep_ratio", "min_size")),
        "ResizeToMultiple": (_resize_to_multiple, ("size_divisor", "interpolation")),
    }
    """For each transform how it is translated, and the settings that mmseg's has."""


def has_no_effect(transform: Any) -> bool:
    """Whether a transform is one of mmseg's that leaves the values of a test image as they are."""
    if not isinstance(transform, dict) or not is_mmsegs(transform):
        return False
    name = transform_name(transform)
    if name == "Transpose":  # to put channels first is packing, as ImageToTensor does it
        return "img" not in transform["keys"] or tuple(transform["order"]) == (2, 0, 1)
    return name in _NO_EFFECT or (name in _BY_CHANCE and transform.get("prob") == 0)

"""The test pipeline of an mmcv 1.x config, read as plain preprocessing instructions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from segplug.errors import ModelError
from segplug.model import Pad, Resize
from segplug.progress import Reporter
from segplug_mmseg.config import is_list, one_line

__all__ = ["Preprocessing", "data_settings", "find_transform", "read_pipeline"]

# In the order in which segplug applies them, without those that only pack or do nothing at test time.
_RANK = {"Resize": 0, "ResizeToMultiple": 1, "Normalize": 2, "Pad": 3}
_UNLIMITED = 2**31 - 1
"""Pixels of an edge that is infinite in the config: no image is as large."""

_NO_EFFECT = {
    "LoadImageFromFile",
    "LoadAnnotations",
    "RandomFlip",
    "ImageToTensor",
    "DefaultFormatBundle",
    "ToTensor",
    "Collect",
}


@dataclass(frozen=True)
class Preprocessing:
    """What happens to a test image. The fields are those of ``ModelMeta``; ``scale`` is (w, h)."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: Literal["rgb", "bgr"] = "bgr"
    resize: Resize | None = None
    pad: Pad | None = None
    scale: tuple[int, int] | None = None

    @property
    def nominal_size(self) -> tuple[int, int] | None:
        """The network input (height, width) for an image that fills the test scale."""
        if self.scale is None or max(self.scale) >= _UNLIMITED:
            return None
        width, height = self.scale
        multiple = (self.resize and self.resize.multiple_of) or (self.pad and self.pad.divisor) or 1
        height, width = (-(-edge // multiple) * multiple for edge in (height, width))
        if self.pad and self.pad.size:
            height, width = max(height, self.pad.size[0]), max(width, self.pad.size[1])
        return height, width


def data_settings(config: Any, split: str) -> dict[str, Any]:
    """The first data set of ``data.<split>``, or an empty dict. Its classes and pipeline count for all.

    Raises:
        ModelError: the config's ``data`` is no dict.
    """
    data = config.get("data") or {}
    if not isinstance(data, dict):
        raise ModelError(f"data of the config must be a dict, not {data!r}")
    found = data.get(split)
    while is_list(found) and found:
        found = found[0]
    while isinstance(found, dict) and isinstance(found.get("dataset"), dict):  # a repeated data set
        found = found["dataset"]
    return found if isinstance(found, dict) else {}


def find_transform(pipeline: Any, name: str) -> dict[str, Any] | None:
    """The first transform of a type in a pipeline, nested ones included."""
    return next((step for step in _flat(pipeline) if step.get("type") == name), None)


def _flat(pipeline: Any) -> Iterator[dict[str, Any]]:
    for step in pipeline if is_list(pipeline) else ():
        if isinstance(step, dict):
            yield step
            yield from _flat(step.get("transforms"))


def read_pipeline(config: Any, reporter: Reporter) -> Preprocessing:
    """Read ``data.test.pipeline`` (or ``test_pipeline``) of a config.

    There is a warning for each thing that segplug does not do at test time: augmentations, several scales,
    other transforms.

    Raises:
        ModelError: the values of a transform cannot be read, or images do not have 3 channels.
    """
    pipeline = data_settings(config, "test").get("pipeline") or config.get("test_pipeline")
    if not pipeline:
        reporter.warn("the config has no test pipeline: images are normalised and fed at their own size")
        normalise = config.get("img_norm_cfg")
        pipeline = [{"type": "Normalize", **normalise}] if isinstance(normalise, dict) else []
    try:
        return _read_steps(pipeline, reporter)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ModelError(f"the test pipeline of the config cannot be read: {one_line(error)}") from error


def _read_steps(pipeline: Any, reporter: Reporter) -> Preprocessing:
    result = Preprocessing()
    augmentation: dict[str, Any] | None = None
    unknown: list[str] = []
    order: list[str] = []
    for step in _flat(pipeline):
        name = step["type"]
        if name in _RANK:
            order.append(name)
        if name == "MultiScaleFlipAug":
            augmentation = step
            _warn_about_augmentation(step, reporter)
        elif name == "Resize":
            result = _with_resize(result, step, augmentation, reporter)
        elif name == "ResizeToMultiple":
            base = result.resize or Resize()
            result = replace(
                result, resize=replace(base, multiple_of=_positive(step.get("size_divisor", 32)))
            )
        elif name == "Normalize":
            mean, std = _channels(step["mean"], "mean"), _channels(step["std"], "std")
            if min(std) <= 0:
                raise ModelError("the test pipeline normalises with a std that is not above 0")
            in_rgb = step.get("to_rgb", True)
            result = replace(result, mean=mean, std=std, channel_order="rgb" if in_rgb else "bgr")
        elif name == "Pad":
            result = replace(result, pad=_pad(step, reporter))
        elif name == "LoadImageFromFile":
            _check_loader(step, reporter)
        elif name not in _NO_EFFECT:
            unknown.append(name)
    if unknown:
        reporter.warn(f"the test pipeline has transforms that are left out: {', '.join(unknown)}")
    repeated = [name for name, times in Counter(order).items() if times > 1]
    if repeated:
        reporter.warn(f"the test pipeline has {' and '.join(repeated)} more than once: only the last is used")
    if order != sorted(order, key=_RANK.__getitem__):
        reporter.warn("the test pipeline is applied in the order resize, normalise, pad: scores may differ")
    return result


def _warn_about_augmentation(step: dict[str, Any], reporter: Reporter) -> None:
    several = len(_scales(step)) if _lists_scales(step) else len(_ratios(step))
    extras = [f"{several} scales"] if several > 1 else []
    if step.get("flip"):
        extras.append("flips")
    if extras:
        used = _aug_scale(step)
        size = f"{used[0]}x{used[1]}" if used else f"{_ratio(step):g} times the image's own size"
        what = " and ".join(extras)
        reporter.warn(f"the test pipeline augments ({what}): only the scale {size} without flips is used")


def _ratios(step: dict[str, Any]) -> list[float]:
    ratios = step.get("img_ratios")
    if ratios is None:
        return []
    return [float(ratio) for ratio in ratios] if is_list(ratios) else [float(ratios)]


def _ratio(step: dict[str, Any]) -> float:
    """The one ratio of several that is used: 1 if it is among them, else the first."""
    ratios = _ratios(step)
    return 1.0 if not ratios or 1.0 in ratios else ratios[0]


def _scales(step: dict[str, Any]) -> list[tuple[int, int]]:
    """``img_scale``, which is one (width, height), a list of them, or nothing."""
    value = step.get("img_scale")
    if value is None:
        return []
    return [_scale(scale) for scale in value] if _lists_scales(step) else [_scale(value)]


def _lists_scales(step: dict[str, Any]) -> bool:
    """Whether ``img_scale`` is a list of scales, even of one: mmseg ignores ratios then."""
    value: Any = step.get("img_scale")
    return is_list(value) and bool(value) and is_list(value[0])


def _scale(value: Any) -> tuple[int, int]:
    """A (width, height). One edge may be infinite, and is no limit then."""
    edges = value if is_list(value) else (value, value)
    width, height = (_UNLIMITED if edge == math.inf else _positive(edge) for edge in edges)
    if width == height == _UNLIMITED:
        raise ValueError("img_scale is infinite in both edges")
    return width, height


def _scaled(scale: tuple[int, int], ratio: float) -> tuple[int, int]:
    width, height = (edge if edge == _UNLIMITED else int(edge * ratio) for edge in scale)
    return _positive(width), _positive(height)


def _aug_scale(step: dict[str, Any]) -> tuple[int, int] | None:
    scales = _scales(step)
    if not scales:
        return None
    return scales[0] if _lists_scales(step) else _scaled(scales[0], _ratio(step))


def _with_resize(
    result: Preprocessing, step: dict[str, Any], augmentation: dict[str, Any] | None, reporter: Reporter
) -> Preprocessing:
    resize = Resize(keep_ratio=bool(step.get("keep_ratio", True)))
    if resize.keep_ratio and step.get("min_size") is not None:
        resize = replace(resize, min_size=_positive(step["min_size"]))
    if augmentation is not None:  # its scale overrides the transform's own
        scale, ratio = _aug_scale(augmentation), _ratio(augmentation)
    else:
        scale, ratio = _own_scale(step, reporter)
    if scale and max(scale) == _UNLIMITED and not resize.keep_ratio:
        raise ValueError("img_scale is infinite, which needs keep_ratio=True")
    return replace(result, scale=scale, resize=replace(resize, scale=scale, ratio=1.0 if scale else ratio))


def _own_scale(step: dict[str, Any], reporter: Reporter) -> tuple[tuple[int, int] | None, float]:
    """Scale and ratio of a ``Resize`` outside of ``MultiScaleFlipAug``, where it may be random."""
    scales, ratios = _scales(step), step.get("ratio_range") or (1.0, 1.0)
    if len(scales) > 1 or ratios[0] != ratios[1]:
        reporter.warn("the test pipeline resizes at random: its first scale is used")
    if not scales:
        return None, float(ratios[0])
    return _scaled(scales[0], float(ratios[0])), 1.0


def _pad(step: dict[str, Any], reporter: Reporter) -> Pad:
    value = step.get("pad_val", 0)
    values = [float(item) for item in value] if is_list(value) else [float(value)]
    if len(set(values)) > 1:
        reporter.warn("the test pipeline pads each channel with another value: the first is used for all")
    if step.get("size") is not None:
        return Pad(size=_pair(step["size"]), value=values[0])
    return Pad(divisor=_positive(step["size_divisor"]), value=values[0])


def _check_loader(step: dict[str, Any], reporter: Reporter) -> None:
    kind = step.get("color_type", "color")
    if kind not in ("color", "color_ignore_orientation"):
        reporter.warn(f"the test pipeline reads images as '{kind}': segplug feeds colour images")


def _pair(value: Any) -> tuple[int, int]:
    """A size of the config; one number stands for both edges."""
    first, second = value if is_list(value) else (value, value)
    return _positive(first), _positive(second)


def _positive(value: Any) -> int:
    """A number of pixels."""
    if not math.isfinite(value) or int(value) < 1:
        raise ValueError(f"{value} is no size in pixels")
    return int(value)


def _channels(values: Any, name: str) -> tuple[float, float, float]:
    numbers = [float(value) for value in values]
    if len(numbers) != 3:
        raise ModelError(f"the test pipeline has {len(numbers)} values of {name}: networks take 3 channels")
    if not all(map(math.isfinite, numbers)):
        raise ModelError(f"the test pipeline normalises with a {name} that is not finite: {numbers}")
    return numbers[0], numbers[1], numbers[2]

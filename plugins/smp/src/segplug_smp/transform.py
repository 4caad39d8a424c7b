"""A transform of albumentations in a model's folder, where smp's users keep their preprocessing.

``A.Compose([...]).save_pretrained(folder)`` writes it beside the network's own files. It is read as data; the
steps are those of evaluation. It is about RGB images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from segplug.errors import ModelError
from segplug.model_folder import is_there, read_json
from segplug.preprocessing import Pad, Resize

__all__ = ["TRANSFORM", "Transform", "read_transform"]

TRANSFORM = "albumentations_config_eval.json"

Filter = Literal["nearest", "bilinear", "bicubic", "area", "lanczos"]

_FILTERS: Mapping[int, Filter] = {0: "nearest", 1: "bilinear", 2: "bicubic", 3: "area", 4: "lanczos"}
"""OpenCV's numbers."""
_BYTE = 255.0
_SIDES: Mapping[Any, bool] = {"center": True, "top_left": False}
"""Where the image lies in what is padded, and whether that is the centre."""


@dataclass(frozen=True)
class Transform:
    """What the transform does, in the order resize, normalise, pad."""

    file: Path
    channels: int
    """Of the images."""
    mean: tuple[float, ...] | None = None
    """In the units of the images; ``None``: pixels are left as they are."""
    std: tuple[float, ...] | None = None
    resize: Resize | None = None
    pad: Pad | None = None
    left_out: tuple[str, ...] = ()
    """The steps that are not expressed, one line each."""

    @property
    def size(self) -> tuple[int, int] | None:
        """The (height, width) of all images after it; ``None``: it depends on the image."""
        if self.resize is None or self.resize.scale is None:
            return None
        size, pad = self.resize.scale[::-1], self.pad
        least = (1, 1) if pad is None or pad.size is None else pad.size
        if self.resize.fit != "exact":
            return least if size[0] <= least[0] and size[1] <= least[1] else None
        step = 1 if pad is None or pad.divisor is None else pad.divisor
        height, width = (-(-max(edges) // step) * step for edges in zip(size, least, strict=True))
        return height, width


def read_transform(path: Path, channels: int, *, approximate: bool) -> Transform | None:
    """Read the transform in a folder; ``None``: it has none.

    Args:
        path: The folder.
        channels: Of the images that the network takes.
        approximate: Leave out the steps that cannot be expressed.

    Raises:
        ModelError: the file cannot be read, or has a step that cannot be expressed.
    """
    file = path / TRANSFORM
    if not is_there(file):
        return None
    content = read_json(file).get("transform")
    steps = content.get("transforms") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not isinstance(steps, list):
        raise ModelError(f"{file} holds no transform of albumentations")
    if _name(content) != "Compose" or content.get("p", 1.0) != 1:  # one of the steps, or none at times
        raise ModelError(
            f"{file} holds {_name(content)} with p={content.get('p')}, and only Compose with p=1 runs every "
            "step",
            hint="save what runs for evaluation as A.Compose([...])",
        )
    found = Transform(file, channels)
    for step in steps:
        try:
            found = _add(found, step)
        except _Unknown as unknown:
            text = f"{file.name}: {unknown}"
            if not approximate:
                raise ModelError(
                    f"{file} has a step that cannot be expressed: {unknown}",
                    hint="--approximate leaves it out",
                ) from unknown
            found = replace(found, left_out=(*found.left_out, text))
    return found


class _Unknown(Exception):
    """A step, or a setting of one, that is not known."""


def _add(found: Transform, step: Any) -> Transform:
    """The transform with one step more."""
    name = step.get("__class_fullname__") if isinstance(step, Mapping) else None
    name = str(name).rpartition(".")[2]  # older versions wrote the module, too
    make = _STEPS.get(name)
    if make is None:
        raise _Unknown(name)
    if step.get("p", 1.0) != 1 and make is not _nothing:
        raise _Unknown(f"{name} at random (p={step['p']})")
    try:
        return make(found, step)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _Unknown(f"{name}, whose settings are {dict(step)}") from error


def _resize(found: Transform, step: Mapping[str, Any]) -> Transform:
    size = (_edge(step["width"]), _edge(step["height"]))
    return _with_resize(found, step, Resize(scale=size))


def _longest(found: Transform, step: Mapping[str, Any]) -> Transform:
    edge = _edge(step["max_size"])
    return _with_resize(found, step, Resize(scale=(edge, edge), fit="inside", rounding="half_even"))


def _with_resize(found: Transform, step: Mapping[str, Any], resize: Resize) -> Transform:
    if found.resize is not None or found.pad is not None or found.mean is not None:
        raise _Unknown(f"{_name(step)} after another resize, a pad or a normalisation")
    if step.get("area_for_downscale") is not None:
        raise _Unknown(f"{_name(step)} with area_for_downscale")
    return replace(found, resize=replace(resize, filter=_FILTERS[step.get("interpolation", 1)]))


def _pad(found: Transform, step: Mapping[str, Any]) -> Transform:
    if found.pad is not None:
        raise _Unknown(f"{_name(step)} after another pad")
    border = step["border_mode"]
    position = str(step.get("position", "center")).rpartition(".")[2].lower()
    if border != 0:  # OpenCV's number of a constant
        raise _Unknown(f"{_name(step)} with border_mode {border}, which repeats or mirrors the image")
    if position not in _SIDES:
        raise _Unknown(f"{_name(step)} with position {position}")
    # In the units that the image has here; _normalised changes it where that follows.
    value = _values(step.get("fill", step.get("value")) or 0, found.channels)
    divisors = (step.get("pad_height_divisor"), step.get("pad_width_divisor"))
    pad = Pad(value=value if any(value) else (), centred=_SIDES[position])
    if divisors != (None, None):
        if divisors[0] != divisors[1]:
            raise _Unknown(f"{_name(step)} with two divisors")
        return replace(found, pad=replace(pad, divisor=_edge(divisors[0])))
    size = (_edge(step["min_height"]), _edge(step["min_width"]))
    return replace(found, pad=replace(pad, size=size))


def _normalize(found: Transform, step: Mapping[str, Any]) -> Transform:
    if step.get("normalization", "standard") != "standard":
        raise _Unknown(f"{_name(step)} with normalization {step['normalization']}")
    most = float(step["max_pixel_value"])
    mean = tuple(value * most for value in _values(step["mean"], found.channels))
    std = tuple(value * most for value in _values(step["std"], found.channels))
    return _normalised(found, mean, std)


def _to_float(found: Transform, step: Mapping[str, Any]) -> Transform:
    most = _BYTE if step.get("max_value") is None else float(step["max_value"])
    return _normalised(found, (0.0,) * found.channels, (most,) * found.channels)


def _normalised(found: Transform, mean: tuple[float, ...], std: tuple[float, ...]) -> Transform:
    """After ``(x - m) / s``, which may be there already, subtract a mean and divide by a deviation."""
    before_mean = found.mean or (0.0,) * found.channels
    before_std = found.std or (1.0,) * found.channels
    pad = found.pad
    if pad is not None:  # what is padded is normalised, too
        values = pad.value or (0.0,) * found.channels
        pad = replace(pad, value=tuple((v - m) / s for v, m, s in zip(values, mean, std, strict=True)))
    return replace(
        found,
        mean=tuple(m + more * s for m, s, more in zip(before_mean, before_std, mean, strict=True)),
        std=tuple(s * more for s, more in zip(before_std, std, strict=True)),
        pad=pad,
    )


def _nothing(found: Transform, _step: Mapping[str, Any]) -> Transform:
    return found


_STEPS: Mapping[str, Callable[[Transform, Mapping[str, Any]], Transform]] = {
    "Resize": _resize,
    "LongestMaxSize": _longest,
    "PadIfNeeded": _pad,
    "Normalize": _normalize,
    "ToFloat": _to_float,
    "ToTensorV2": _nothing,
    "NoOp": _nothing,
}


def _name(step: Mapping[str, Any]) -> str:
    return str(step.get("__class_fullname__")).rpartition(".")[2]


def _edge(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(value)
    return value


def _values(value: Any, channels: int) -> tuple[float, ...]:
    values = tuple(map(float, value)) if isinstance(value, (list, tuple)) else (float(value),) * channels
    if len(values) != channels:
        raise ValueError(value)
    return values

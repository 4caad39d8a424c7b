"""Transforms of mmcv 2 and mmseg 1.x as steps of preprocessing, with their own numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

from segplug.errors import ModelError
from segplug.preprocessing import RESIZE_FILTERS, Flip, Pad, Resize, Step
from segplug.text import counted
from segplug_mmseg.pipeline.missing import Missing
from segplug_mmseg.pipeline.normalising import normalised
from segplug_mmseg.pipeline.numbers import UNLIMITED, pair
from segplug_mmseg.pipeline.padding import SCALAR_CHANNELS, pad_value
from segplug_mmseg.v1.pipeline.transforms import build, is_theirs, title_of, transform_class
from segplug_mmseg.values import is_list

__all__ = ["Translation"]

_NO_EFFECT = {
    "GenerateEdge",
    "LoadAnnotations",
    "LoadBiomedicalAnnotation",
    "LoadDepthAnnotation",
    "SegRescale",
}
"""They load or change masks only."""

_BY_CHANCE = {
    "RandomCutOut": ("prob",),
    "RandomRotate": ("prob",),
    "RandomRotFlip": ("rotate_prob", "flip_prob"),
}
"""They do something with a probability, which may be 0."""

_ALGORITHMS: Mapping[Any, Literal["opencv", "pillow"]] = {"cv2": "opencv", None: "opencv", "pillow": "pillow"}
_PILLOW_CHANNELS = (1, 3)
"""Others are no images of Pillow, or have an alpha channel, which it multiplies into the others."""
_ALL_KEYS = frozenset({"pad_shape", "flip", "flip_direction"})


class Translation:
    """Translates the transforms of one view, one after the other, and keeps what they leave for the next.

    Args:
        channels: Channels of the images.
        missing: Gets what cannot be expressed.
        floats: Whether the images are floats from the beginning.
    """

    def __init__(self, channels: int, missing: Missing, *, floats: bool = False) -> None:
        self.steps: list[Step] = []
        self._channels = channels
        self._missing = missing
        self._floats = floats
        self._keys = _ALL_KEYS  # what PackSegInputs tells the network of the image
        self._flipped = False
        self._padded: str | None = None  # the transform that noted the size of the scores, `pad_shape`
        self._resized: str | None = None  # the transform that changed the size after it

    def add(self, step: Any) -> None:
        """Translate one transform.

        Args:
            step: Its settings, or a callable.

        Raises:
            ModelError: it cannot be expressed, or mmseg fails with its settings.
            TypeError, ValueError, LookupError: a setting cannot be read.
        """
        if not isinstance(step, dict) or not is_theirs(transform_class(step)):
            self._missing.leave_out(title_of(step))
        else:
            self._translate(build(step))

    def finish(self, *, keeps_size: bool) -> tuple[Step, ...]:
        """The steps.

        Args:
            keeps_size: Whether mmseg resizes the scores of the whole image to its ``pad_shape`` first.

        Raises:
            ModelError: mmseg resizes or mirrors the scores of such images as segplug does not.
        """
        if keeps_size and self._resized and "pad_shape" in self._keys:
            self._missing.note(
                f"has {self._resized} after {self._padded}, and mmseg first resizes the scores to the size "
                "between them",
                "scores are resized once, to the image's own size",
            )
        if self._flipped and not {"flip", "flip_direction"} <= self._keys:
            self._missing.note(
                "flips images, but PackSegInputs has no flip and flip_direction in meta_keys, and mmseg does "
                "not flip the output back",
                "the output is flipped back",
            )
        return tuple(self.steps)

    def _translate(self, transform: Any) -> None:
        name = type(transform).__name__
        if name in _NO_EFFECT:
            return
        if name in _BY_CHANCE and not any(getattr(transform, key) for key in _BY_CHANCE[name]):
            return
        if not is_theirs(type(transform)) or name not in self._TRANSLATORS:
            self._missing.leave_out(name)
            return
        self._TRANSLATORS[name](self, transform)

    def _pack(self, transform: Any) -> None:
        self._keys = frozenset(transform.meta_keys)

    def _resize(self, transform: Any) -> None:
        keep_ratio = bool(transform.keep_ratio)
        step = Resize(
            scale=_scale(transform.scale, keep_ratio) if transform.scale else None,
            fit="inside" if keep_ratio else "exact",
            factors=None if transform.scale else _factors(transform.scale_factor),
        )
        if step.factors == (1.0, 1.0):
            return  # the image's own size
        self._change_size(self._with_algorithm(step, transform), type(transform).__name__)

    def _with_algorithm(self, step: Resize, transform: Any) -> Resize:
        """The step with the library and the filter of the transform."""
        if transform.backend not in _ALGORITHMS:
            raise ValueError(f"Resize has backend={transform.backend!r}, none of 'cv2', 'pillow'")
        algorithm, filter_name = _ALGORITHMS[transform.backend], transform.interpolation
        if algorithm == "pillow" and self._floats:
            raise ModelError(
                "the test pipeline resizes floats with backend='pillow', which mmcv refuses",
                hint="set to_float32=False of LoadImageFromFile, or put Normalize after Resize",
            )
        if algorithm == "pillow" and self._channels not in _PILLOW_CHANNELS:
            self._missing.leave_out(f"Resize with backend='pillow' of {counted(self._channels, 'channel')}")
            algorithm = "opencv"
        filters = RESIZE_FILTERS[algorithm]
        if filter_name == "hamming" and algorithm == "pillow":
            self._missing.note("resizes with interpolation='hamming'", "Resize uses 'bilinear' for 'hamming'")
            filter_name = "bilinear"
        if filter_name not in filters:
            raise ValueError(f"Resize has interpolation={filter_name!r}, none of {', '.join(filters)}")
        return replace(step, algorithm=algorithm, filter=cast(Any, filter_name))

    def _resize_shortest_edge(self, transform: Any) -> None:
        scale = transform.scale
        if not isinstance(scale, (int, tuple)):  # mmseg has no name for anything else
            raise ValueError(f"ResizeShortestEdge has scale={scale!r}, no number and no tuple of two")
        short = _edge(min(scale) if isinstance(scale, tuple) else scale)
        step = Resize(scale=(short, short), fit="shortest", max_size=_edge(transform.max_size))
        self._change_size(self._with_algorithm(step, transform.resize), type(transform).__name__)

    def _resize_to_multiple(self, transform: Any) -> None:
        width, height = pair(transform.size_divisor)
        filter_name = transform.interpolation or "bilinear"
        if filter_name not in RESIZE_FILTERS["opencv"]:
            raise ValueError(
                f"ResizeToMultiple has interpolation={filter_name!r}, none of "
                f"{', '.join(RESIZE_FILTERS['opencv'])}"
            )
        if width != height:
            self._missing.leave_out("ResizeToMultiple with two divisors")
            return
        self._change_size(
            Resize(multiple_of=width, filter=cast(Any, filter_name)), "ResizeToMultiple", notes=True
        )

    def _random_resize(self, transform: Any) -> None:
        scale = transform.scale
        if isinstance(scale, tuple) and not is_list(scale[0]):
            low, high = transform.ratio_range
            first, last = ((int(scale[0] * ratio), int(scale[1] * ratio)) for ratio in (low, high))
            certain = low == high
        else:
            first, last = scale
            certain = first == last
        self._resize_to(transform, first, certain=certain)

    def _random_choice_resize(self, transform: Any) -> None:
        scales = transform.scales
        self._resize_to(transform, scales[0], certain=len(scales) == 1)

    def _resize_to(self, transform: Any, scale: Any, *, certain: bool) -> None:
        """As the transform inside another one does it, with a scale that is drawn by chance."""
        if not certain:
            used = "x".join(map(str, scale if is_list(scale) else (scale,)))
            self._missing.note(
                "resizes at random", f"{type(transform).__name__} uses its first scale, {used}"
            )
        inner = copy.copy(transform.resize)
        inner.scale = scale
        self._translate(inner)

    def _pad(self, transform: Any) -> None:
        if transform.padding_mode != "constant":
            self._missing.leave_out(f"Pad with padding_mode={transform.padding_mode!r}")
            return
        size, divisor = transform.size, transform.size_divisor
        if size is not None:
            width, height = size
            size = (_edge(height), _edge(width))
        step = Pad(
            size=size,
            divisor=None if divisor is None else _edge(divisor),
            value=self._pad_value(transform.pad_val.get("img", 0)),
            cut=False,  # mmseg 1.x does not know what its own Pad has added
            square=bool(transform.pad_to_square),
        )
        self._change_size(step, "Pad", notes=True)

    def _pad_value(self, given: Any) -> tuple[float, ...]:
        if isinstance(given, list):
            raise ModelError(f"the test pipeline pads with the list {given}, and mmcv takes a tuple")
        if isinstance(given, (int, tuple)) and self._channels > SCALAR_CHANNELS:
            raise ModelError(
                f"the test pipeline pads {self._channels} channels with {given}, which OpenCV refuses",
                hint="pad with pad_val=dict(img=0.0), or with test_cfg of the data_preprocessor",
            )
        return pad_value((given,) * self._channels if isinstance(given, int) else given, self._channels)

    def _random_flip(self, transform: Any) -> None:
        outcome = _direction(transform)
        if outcome == "by chance":
            self._missing.leave_out(f"RandomFlip(prob={transform.prob})")
            return
        if outcome == "diagonal":
            raise ModelError(
                "the test pipeline flips in the direction 'diagonal', which mmseg cannot flip back"
            )
        if self._flipped:  # mmseg flips the output back as the last one says
            self._missing.leave_out("a second RandomFlip")
        elif outcome is not None:
            self._flipped = True
            self.steps.append(Flip(cast(Any, outcome)))

    def _normalize(self, transform: Any) -> None:
        self.steps += normalised(
            transform.mean, transform.std, to_rgb=bool(transform.to_rgb), channels=self._channels
        )
        self._floats = True

    def _change_size(self, step: Step, name: str, *, notes: bool = False) -> None:
        """Add a step. ``notes``: mmseg notes the new size as that of the scores."""
        self.steps.append(step)
        if notes:
            self._padded, self._resized = name, None
        elif self._padded:
            self._resized = name

    _TRANSLATORS: ClassVar[Mapping[str, Callable[[Translation, Any], None]]] = {
        "Normalize": _normalize,
        "PackSegInputs": _pack,
        "Pad": _pad,
        "RandomChoiceResize": _random_choice_resize,
        "RandomFlip": _random_flip,
        "RandomResize": _random_resize,
        "Resize": _resize,
        "ResizeShortestEdge": _resize_shortest_edge,
        "ResizeToMultiple": _resize_to_multiple,
    }


def _scale(value: Any, keep_ratio: bool) -> tuple[int, int]:
    """A (width, height). One edge may be infinite where the ratio is kept, and is no limit then."""
    if not is_list(value) or len(value) != 2:
        raise ValueError(f"Resize has scale={value!r}, not (width, height)")
    width, height = (UNLIMITED if keep_ratio and edge == math.inf else _edge(edge) for edge in value)
    if width == height == UNLIMITED:
        raise ValueError("scale is infinite in both edges")
    return width, height


def _edge(value: Any) -> int:
    """A number of pixels. None is cut off in silence."""
    if isinstance(value, bool) or not math.isfinite(value) or int(value) != value or value < 1:
        raise ValueError(f"{value!r} is no number of pixels")
    return int(value)


def _factors(value: Any) -> tuple[float, float]:
    width, height = map(float, value)
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(f"scale_factor is {value!r}, not numbers above 0")
    return width, height


def _direction(transform: Any) -> str | None:
    """The direction in which a ``RandomFlip`` always flips, or ``by chance``; ``None``: it never flips."""
    directions = transform.direction if is_list(transform.direction) else [transform.direction]
    chances = (
        transform.prob if is_list(transform.prob) else [transform.prob / len(directions)] * len(directions)
    )
    outcomes: dict[str | None, float] = {None: 1 - sum(chances)}
    for direction, chance in zip(directions, chances, strict=True):
        outcomes[direction] = outcomes.get(direction, 0) + chance
    possible = [outcome for outcome, chance in outcomes.items() if chance > 0]
    return possible[0] if len(possible) == 1 else "by chance"

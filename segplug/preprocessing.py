"""How an image becomes the input of a network: how a file is decoded, and an ordered list of steps.

All of it is plain data. A source translates the pipeline of its framework into steps, the runtime executes
them (:mod:`segplug.runtime.preprocess`). Each step names its algorithm, so that the numbers are those of the
framework. An image is an array ``(H, W, C)`` of any numeric type; after the last step it becomes float32
``(C, H, W)``, which is the only cast that no step asks for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from segplug.text import counted
from segplug.validation import AboveZero, AtLeastOne, Finite, NotNegative, checked, fault

__all__ = [
    "RESIZE_FILTERS",
    "STEPS",
    "ChannelOrder",
    "Convert",
    "Crop",
    "Decoding",
    "Flip",
    "Normalize",
    "Pad",
    "Resize",
    "Scale",
    "Step",
    "check_channels",
    "find_steps",
    "keeps_size",
    "steps_from_data",
    "usual_steps",
]

Edges = tuple[AtLeastOne, AtLeastOne]
"""Two edges in pixels."""


@dataclass(frozen=True)
class Decoding:
    """How an encoded image becomes an array. ``.npy`` files hold what the decoder would give."""

    library: Literal["opencv", "pillow", "turbojpeg", "tifffile", "bands"] = "opencv"
    """Who decodes. ``opencv``, ``pillow`` and ``turbojpeg`` give colours as BGR; ``tifffile`` gives a TIFF as
    it is. ``bands``: all channels in the order of the file, TIFF with tifffile, other formats with OpenCV."""
    color: Literal[
        "color", "grayscale", "unchanged", "color_ignore_orientation", "grayscale_ignore_orientation"
    ] = "color"
    """What colours become, for ``opencv``, ``pillow`` and ``turbojpeg``. ``color``: uint8 BGR. ``grayscale``:
    uint8, one channel. Both are turned as the EXIF orientation says, unless the name says otherwise.
    ``unchanged``: channels and type of the file."""
    loader: str | None = None
    """The name of a loader of the user's own, which no other program has: then only ``.npy`` files with what
    it gives can be read without it."""

    @classmethod
    def for_channels(cls, channels: int) -> Decoding:
        """The usual decoding for a network of so many input channels, where its source does not say it."""
        if channels == 3:
            return cls()
        return cls(color="grayscale") if channels == 1 else cls(library="bands", color="unchanged")

    @property
    def gives_bgr(self) -> bool:
        """Whether the first three of three or more channels are blue, green and red."""
        return self.library in ("opencv", "pillow", "turbojpeg") and self.loader is None

    def in_words(self) -> str:
        """One short sentence."""
        if self.loader is not None:
            return f"Read with the loader '{self.loader}' of the model's own code, or from .npy."
        if self.library in ("tifffile", "bands"):
            how = "TIFF with tifffile" if self.library == "tifffile" else "all channels in the file's order"
            return f"Read {how}, type unchanged."
        library = {"opencv": "OpenCV", "pillow": "Pillow", "turbojpeg": "TurboJPEG"}[self.library]
        kind = {"color": "8-bit BGR", "grayscale": "8-bit grey"}.get(
            self.color.split("_")[0], "as in the file"
        )
        turned = ", not turned by EXIF" if self.color.endswith("ignore_orientation") else ""
        return f"Read with {library}, {kind}{turned}."


class Step:
    """One step of preprocessing: one of the dataclasses below."""

    name: ClassVar[str]
    """Identifies the kind of step in metadata."""

    def to_dict(self) -> dict[str, Any]:
        """JSON types: the kind under ``step``, and all fields."""
        return {"step": self.name, **dataclasses.asdict(self)}  # type: ignore[call-overload]

    def in_words(self) -> str:
        """One short sentence."""
        raise NotImplementedError


@dataclass(frozen=True)
class Convert(Step):
    """Convert the pixels to another type, as a framework does before it resizes."""

    name: ClassVar[str] = "convert"
    dtype: Literal["float32"] = "float32"

    def in_words(self) -> str:
        """One short sentence."""
        return f"Convert to {self.dtype}."


@dataclass(frozen=True)
class Resize(Step):
    """Resize the image, all of it, padding included. Sizes are pixels.

    The target size comes from the scale and ``fit``; ``multiple_of`` then brings both edges to multiples. The
    image is resized once, to the target.
    """

    name: ClassVar[str] = "resize"
    scale: Edges | None = None
    """(width, height). ``None``: the image's own size times ``ratio``, rounded down."""
    fit: Literal["exact", "inside", "shortest", "closest"] = "exact"
    """``exact``: stretched to ``scale``. ``inside``: the ratio is kept, the long edge is at most
    ``max(scale)``, the short edge at most ``min(scale)``, and one of them is equal. ``shortest``: the ratio
    is kept, and the short edge becomes ``min(scale)``. ``closest``: the ratio is kept, and of the factors
    that bring the width to ``scale[0]`` or the height to ``scale[1]`` the one nearer to 1 is taken, the
    height's if they are equally near."""
    ratio: AboveZero = 1.0
    min_size: AtLeastOne | None = None
    """With ``inside``: raises the short edge to at least this."""
    multiple_of: AtLeastOne | None = None
    """Each edge becomes a multiple of this."""
    multiple: Literal["up", "nearest"] = "up"
    """Which multiple: the next one, or the nearest (half to even, at least one), as for DPT."""
    rounding: Literal["half_up", "half_even", "down"] = "half_up"
    """Where the ratio is kept: ``half_up`` is ``int(edge * factor + 0.5)``, as mmcv computes it; ``down`` is
    ``int(short * long_edge / short_edge)``, as torchvision does. With ``inside`` and ``down``, ``scale`` are
    the limits of width and height, whichever is longer, and both edges are ``int(edge * factor)``, as the
    processors of transformers do (``get_image_size_for_max_height_width``). ``half_even`` is for ``inside``:
    the same limits, and both edges are ``round(edge * factor)``, as Ultralytics computes them."""
    algorithm: Literal["opencv", "pillow", "torchvision"] = "opencv"
    """``opencv``: ``cv2.resize``, for all types that it takes; only ``area`` is antialiased. ``pillow``: for
    uint8 and float32; all but ``nearest`` are antialiased. ``torchvision``: so, too; for uint8 equal to
    PyTorch 2 on CPUs with AVX2, from which its other CPUs and GPUs differ by a grey level or two. Its
    ``nearest`` is torch's ``nearest-exact``."""
    filter: Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos", "area"] = "bilinear"
    """One of the algorithm's :data:`RESIZE_FILTERS`."""
    factors: tuple[AboveZero, AboveZero] | None = None
    """(width, height). In place of ``scale``: the image's own size times these, each edge rounded half up."""
    max_size: AtLeastOne | None = None
    """With ``shortest``: the long edge becomes at most this. With ``half_up`` the target is rounded, and the
    image then fitted ``inside`` it, as mmsegmentation 1.x does: it may be smaller by some pixels. With
    ``down`` the short edge is rounded half to even where the long one is limited, as the processors of
    transformers do (``get_size_with_aspect_ratio``)."""

    def in_words(self) -> str:
        """One short sentence."""
        if self.factors is not None:
            parts = [f"Resize by {_factors(self.factors)}"]
        elif self.scale is None:
            parts = [f"Resize by {self.ratio:g}" if self.ratio != 1 else "Resize"]
        else:
            parts = [self._target_in_words(self.scale)]
        if self.min_size is not None:
            parts.append(f"the short edge at least {self.min_size}")
        if self.max_size is not None:
            parts.append(f"the long edge at most {self.max_size}")
        if self.multiple_of is not None:
            which = "raised to" if self.multiple == "up" else "brought to the nearest"
            parts.append(f"both edges {which} multiples of {self.multiple_of}")
        return f"{', '.join(parts)} ({_LIBRARIES[self.algorithm]}, {self.filter})."

    def _target_in_words(self, scale: Edges) -> str:
        if self.fit == "exact":
            return f"Resize to {_edges(scale)} (width x height)"
        if self.fit == "closest":
            either = f"the width {scale[0]} or the height {scale[1]}, the smaller change"
            return f"Resize to {either}, keeping the ratio"
        if self.fit == "shortest":
            return f"Resize the short edge to {min(scale)}, keeping the ratio"
        if self.rounding != "half_up":
            return f"Resize to fit into {_edges(scale)} (width x height), keeping the ratio"
        return f"Resize to fit into {max(scale)}x{min(scale)}, keeping the ratio"


@dataclass(frozen=True)
class Crop(Step):
    """Cut out the centre. The output is stretched over the whole image, as transformers does.

    An edge that is shorter than the crop is padded with zeros on both sides.
    """

    name: ClassVar[str] = "crop"
    size: Edges
    """(height, width) of what is left. The first row is ``int((height of the image - height) / 2)``."""
    longer: Literal["start", "end"] = "end"
    """Where one zero more is if their number is odd: ``end``, as torchvision has it, or ``start``, as the
    Pillow processors of transformers have it."""

    def in_words(self) -> str:
        """One short sentence."""
        return f"Cut out the centre, {_edges(self.size)} (height x width); the output covers the whole image."


@dataclass(frozen=True)
class Flip(Step):
    """Mirror the image; the network's output is mirrored back. At most once in a list of steps."""

    name: ClassVar[str] = "flip"
    direction: Literal["horizontal", "vertical"] = "horizontal"

    def in_words(self) -> str:
        """One short sentence."""
        return f"Flip {self.direction}ly; the output is flipped back."


@dataclass(frozen=True)
class Pad(Step):
    """Pad, at the bottom and right unless ``centred``. One of ``size``, ``divisor`` and ``square`` is set, or
    the last two.
    """

    name: ClassVar[str] = "pad"
    size: Edges | None = None
    """Fixed (height, width); images already larger in an axis keep that axis."""
    divisor: AtLeastOne | None = None
    """Pad each axis up to the next multiple of this."""
    value: tuple[Finite, ...] = ()
    """One for each channel, in the order and units that the image has here; rounded half to even and limited
    to the range of an integer image. Empty: zeros."""
    cut: bool = True
    """Whether the padding is cut from the output before it is resized to the image's own size."""
    square: bool = False
    """Pad the short edge to the long one first."""
    centred: bool = False
    """Pad on both sides, with one more at the bottom or right if the number is odd."""

    def in_words(self) -> str:
        """One short sentence."""
        if self.size is not None:
            target = f"at least {_edges(self.size)} (height x width)"
        else:
            targets = ["a square"] if self.square else []
            targets += [] if self.divisor is None else [f"multiples of {self.divisor}"]
            target = " of ".join(targets)
        values = _numbers(self.value) if any(self.value) else "0"
        kept = "" if self.cut else "; the output keeps the padding"
        sides = "on all sides" if self.centred else "at the bottom and right"
        return f"Pad {sides} to {target} with {values}{kept}."


@dataclass(frozen=True)
class ChannelOrder(Step):
    """Reorder the channels: channel ``i`` of the result is channel ``order[i]`` of the image."""

    name: ClassVar[str] = "channel_order"
    order: tuple[NotNegative, ...] = (2, 1, 0)

    def in_words(self) -> str:
        """One short sentence."""
        if self.order == (2, 1, 0):
            return "Reverse the channels (BGR to RGB)."
        return f"Reorder the channels: {' '.join(str(channel + 1) for channel in self.order)}."


@dataclass(frozen=True)
class Scale(Step):
    """Multiply or divide every value by one number. The result is float32."""

    name: ClassVar[str] = "scale"
    factor: AboveZero = 255.0
    operation: Literal["multiply", "divide"] = "divide"
    dtype: Literal["float32", "float64"] = "float32"
    """The type in which it is computed."""

    def in_words(self) -> str:
        """One short sentence."""
        inverse = round(1 / self.factor) if 1e-6 < self.factor < 1 else 1
        number = f"1/{inverse}" if inverse > 1 and 1 / inverse == self.factor else f"{self.factor:g}"
        return f"{'Multiply' if self.operation == 'multiply' else 'Divide'} by {number}."


@dataclass(frozen=True)
class Normalize(Step):
    """Subtract the mean and divide by the standard deviation of each channel. The result is float32."""

    name: ClassVar[str] = "normalize"
    mean: tuple[Finite, ...]
    """One for each channel, in the order that the channels have here, in the units of the image."""
    std: tuple[AboveZero, ...]
    arithmetic: Literal["reciprocal", "division"] = "reciprocal"
    """``reciprocal``, of OpenCV and mmcv 1.x: ``mean`` and ``std`` are rounded to float32; ``x - mean`` in
    float32, times ``1 / std`` in float64, rounded to float32. ``division``, of PyTorch and NumPy: ``(x -
    mean) / std``, all in float32."""

    def in_words(self) -> str:
        """One short sentence."""
        return f"Subtract {_numbers(self.mean)}, divide by {_numbers(self.std)}."


STEPS: Mapping[str, type[Step]] = {
    kind.name: kind for kind in (Convert, Resize, Crop, Flip, Pad, ChannelOrder, Scale, Normalize)
}
"""The kinds of steps by their names."""


RESIZE_FILTERS: Mapping[str, tuple[str, ...]] = {
    "opencv": ("nearest", "bilinear", "bicubic", "area", "lanczos"),
    "pillow": ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"),
    "torchvision": ("nearest", "bilinear", "bicubic", "lanczos"),
}
"""The filters of each algorithm of :class:`Resize`."""


_LIBRARIES = {"opencv": "OpenCV", "pillow": "Pillow", "torchvision": "torchvision"}


def _edges(edges: Edges) -> str:
    return f"{edges[0]}x{edges[1]}"


def _factors(factors: tuple[float, float]) -> str:
    width, height = factors
    return f"{width:g}" if width == height else f"{width:g} in width and {height:g} in height"


def _numbers(values: Sequence[float]) -> str:
    """One number if all are equal."""
    return " ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


StepT = TypeVar("StepT", bound=Step)


def keeps_size(steps: Sequence[Step]) -> bool:
    """Whether the output for what the steps give has the image's own size, once its padding is cut."""
    return not any(
        isinstance(step, (Resize, Crop)) or (isinstance(step, Pad) and not step.cut) for step in steps
    )


def find_steps(steps: Sequence[Step], kind: type[StepT]) -> list[StepT]:
    """The steps of one kind, in their order."""
    return [step for step in steps if isinstance(step, kind)]


def usual_steps(
    mean: Sequence[float],
    std: Sequence[float],
    *,
    channel_order: Literal["rgb", "bgr"] = "rgb",
    resize: Resize | None = None,
    pad: Pad | None = None,
) -> tuple[Step, ...]:
    """The usual sequence: resize, colours in the network's order, normalise, pad.

    Args:
        mean: One for each channel, in the network's order, in the units of the image.
        std: As ``mean``.
        channel_order: The order that the network takes; images are decoded as BGR. Only three channels are
            reordered.
        resize: ``None``: images keep their size.
        pad: ``None``: nothing is padded.
    """
    steps: list[Step] = [] if resize is None else [resize]
    if channel_order == "rgb" and len(mean) == 3:
        steps.append(ChannelOrder((2, 1, 0)))
    steps.append(Normalize(tuple(map(float, mean)), tuple(map(float, std))))
    return (*steps, *(() if pad is None else (pad,)))


def steps_from_data(data: Any, place: str, what: str) -> tuple[Step, ...]:
    """Read steps from decoded JSON, the inverse of :meth:`Step.to_dict`.

    Args:
        data: A list of objects.
        place: The path of the list, for messages.
        what: What it belongs to, for messages.

    Raises:
        ArtifactError: the data is wrong; the message names the place of the fault.
    """
    if not isinstance(data, (list, tuple)):
        raise fault(what, place, "a list of steps is expected")
    return tuple(_step(entry, f"{place}[{number}]", what) for number, entry in enumerate(data))


def _step(entry: Any, place: str, what: str) -> Step:
    if isinstance(entry, Step):
        return entry
    if not isinstance(entry, Mapping):
        raise fault(what, place, "an object is expected")
    kind = STEPS.get(entry["step"]) if isinstance(entry.get("step"), str) else None
    if kind is None:
        raise fault(what, f"{place}.step", f"one of {', '.join(STEPS)} is expected")
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in entry:
        if key not in (*known, "step"):
            raise fault(what, place, f"'{key}' is none of {', '.join(known)}")
    values = {key: value for key, value in entry.items() if key != "step"}
    step: Step = checked(kind, values, f"{what}, {place}")  # type: ignore[type-var]
    reason = _contradiction(step)
    if reason is not None:
        raise fault(what, place, reason)
    return step


def _contradiction(step: Step) -> str | None:
    """Why the values of a step do not go together; ``None``: they do."""
    if isinstance(step, Resize):
        return _contradictory_resize(step)
    if isinstance(step, Pad) and (step.size is None) == (step.divisor is None and not step.square):
        return "exactly one of size and divisor is expected, or square"
    if isinstance(step, Normalize) and len(step.mean) != len(step.std):
        return f"mean has {counted(len(step.mean), 'value')}, std {len(step.std)}"
    if isinstance(step, Normalize) and not all(map(_is_float32, (*step.mean, *step.std))):
        return "mean and std hold a number that float32 cannot hold"
    if isinstance(step, Scale) and not _is_float32(step.factor):
        return "factor is a number that float32 cannot hold"
    if isinstance(step, ChannelOrder) and sorted(step.order) != list(range(len(step.order))):
        return "every channel once is expected"
    return None


def _is_float32(value: float) -> bool:
    """Whether float32, in which images become the network's input, has such a number in full precision."""
    return value == 0 or 2.0**-126 <= abs(value) < 2.0**128


def _contradictory_resize(step: Resize) -> str | None:
    if step.filter not in RESIZE_FILTERS[step.algorithm]:
        return f"{step.algorithm} has no filter '{step.filter}'"
    if step.factors is not None and (step.scale is not None or step.ratio != 1):
        return "factors stand in place of scale and ratio"
    if step.max_size is not None and (step.scale is None or (step.fit, step.min_size) != ("shortest", None)):
        return "max_size needs a scale, fit 'shortest', and no min_size"
    if step.rounding == "half_even" and step.fit != "inside":
        return "rounding 'half_even' needs fit 'inside'"
    if step.min_size is not None and step.rounding != "half_up":
        return "min_size needs rounding 'half_up'"
    if step.multiple == "nearest" and (step.scale is None or step.fit not in ("exact", "closest")):
        return "multiple 'nearest' needs a scale, and fit 'exact' or 'closest'"
    if step.fit == "closest" and step.multiple != "nearest":
        return "fit 'closest' needs multiple 'nearest'"
    return None


def check_channels(steps: Sequence[Step], channels: int) -> str | None:
    """What in ``steps`` does not fit images of so many channels, in one line; ``None``: all does."""
    for step in steps:
        for field in ("mean", "std", "order", "value"):
            values = getattr(step, field, None)
            if values is None or (field == "value" and not values):  # a Pad may have none
                continue
            if len(values) != channels:
                number = counted(len(values), "value")
                return (
                    f"the {field} of step '{step.name}' has {number}, the images have "
                    f"{counted(channels, 'channel')}"
                )
    return None

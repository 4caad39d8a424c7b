"""The metadata of a plain network: from what its source knows, the user's options and its output."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.artifact import file_sha256, weights_sha256
from segplug.errors import ModelError, UsageError
from segplug.model import Inference, InputLimits, ModelMeta, Provenance
from segplug.preprocessing import RESIZE_FILTERS, Normalize, Pad, Resize, Step
from segplug.progress import Reporter
from segplug.regular_files import expanded
from segplug.requests import LoadModelRequest
from segplug.undescribed import (
    ChannelOrderName,
    both_classes,
    class_names,
    image_steps,
    names_file,
    numbered_classes,
)
from segplug_torch.undescribed.options import NetworkOptions

if TYPE_CHECKING:
    from segplug_torch.undescribed.scores import Scores

__all__ = ["Known", "input_files", "make_meta", "nominal_size"]

_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a source knows of a network; the user's options replace the fields of the same names."""

    name: str
    """A short name for people."""
    in_channels: int = 3
    scores: Literal["logits", "probabilities"] = "logits"
    mean: tuple[float, ...] | None = None
    """In the units of the images; ``None``: not known."""
    std: tuple[float, ...] | None = None
    channel_order: ChannelOrderName | None = None
    normalisation: tuple[Step, ...] = ()
    """What the source does in place of subtracting ``mean`` and dividing by ``std``, where its numbers differ
    from those of :class:`~segplug.preprocessing.Normalize` alone. Used if the user gives neither."""
    resize: Resize | None = None
    pad: Pad | None = None
    input_size: tuple[int, int] | None = None
    """The (height, width) that the network is meant for, used if no option gives one."""
    input_limits: InputLimits | None = None
    """The sizes that the network takes; ``None``: not known."""
    classes: tuple[str, ...] = ()
    """In label order; empty: not known."""
    palette: tuple[tuple[int, int, int], ...] = ()
    """One RGB colour for each of ``classes``; used only with these."""
    config_file: Path | None = None
    """The file that says what the network is; its hash goes into the metadata."""
    checkpoint: str | None = None
    """The weights that are loaded."""
    distributions: Collection[str] = ()
    """Whose versions go into the metadata, besides those of segplug-torch and torch."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """JSON data for :attr:`segplug.model.ModelMeta.extra`."""


def nominal_size(options: NetworkOptions, pad: Pad | None = None) -> tuple[int, int] | None:
    """The (height, width) that the network is meant for; ``None``: no option gives it.

    Args:
        options: A size that images are resized to counts with the padding that follows.
        pad: How images are padded unless an option says otherwise.

    Raises:
        UsageError: the sizes that are given do not go together.
    """
    crop, stride = options.crop_size, options.stride
    if crop is None and stride is not None:
        raise UsageError("stride is the step of a window", hint="add crop_size=HEIGHT,WIDTH")
    if crop is not None and stride is not None and (stride[0] > crop[0] or stride[1] > crop[1]):
        raise UsageError("stride is larger than crop_size: pixels between the windows would get no label")
    if crop is not None and options.input_size not in (None, crop):
        raise UsageError(
            "the input of a network that slides a window is the window", hint="leave out input_size"
        )
    if crop or options.input_size:
        return crop or options.input_size
    if options.resize is None or options.keep_ratio:
        return None
    padded = _pad(options, pad)
    step = 1 if padded is None or padded.divisor is None else padded.divisor
    height, width = (-(-edge // step) * step for edge in options.resize)
    return height, width


def make_meta(request: LoadModelRequest[Any], known: Known, scores: Scores) -> ModelMeta:
    """Fill a :class:`ModelMeta`.

    Args:
        request: Its location, overrides and reporter; its options are :class:`NetworkOptions`.
        known: What the source knows without them.
        scores: What the network returns.

    Raises:
        UsageError: options are wrong, or contradict each other.
        ModelError: the network has another number of classes than are named.
    """
    options: NetworkOptions = request.options
    mean = known.mean if options.mean is None else options.mean
    std = known.std if options.std is None else options.std
    if mean is None and std is None:
        request.reporter.warn("neither mean nor std is given: the network gets the pixels as they are")
    decoding, preprocessing = image_steps(
        known.in_channels,
        mean=mean,
        std=std,
        channel_order=options.channel_order or known.channel_order,
        decoding=options.decoding,
        resize=_resize(options, known.resize),
        pad=_pad(options, known.pad),
    )
    if known.normalisation and options.mean is None and options.std is None:
        preprocessing = _with_normalisation(preprocessing, known.normalisation)
    sigmoid = scores.channels == 1 or options.multilabel
    if options.multilabel and scores.channels == 1:
        raise UsageError("multilabel is for several classes, and this network has one channel")
    if options.multilabel and options.reduce_zero_label:
        raise UsageError(
            "reduce_zero_label is for one label at each pixel, and multilabel for several classes"
        )
    if options.threshold is not None and not sigmoid:
        raise UsageError(
            f"threshold is for a network with one channel, and this one has {scores.channels}",
            hint="if each class has a sigmoid of its own, add multilabel",
        )
    named, palette = _classes(options.classes, known, scores.channels, options.multilabel, request.reporter)
    return ModelMeta(
        name=known.name,
        classes=named,
        palette=palette,
        in_channels=known.in_channels,
        decoding=decoding,
        preprocessing=preprocessing,
        input_size=nominal_size(options, known.pad) or known.input_size,
        inference=_inference(options),
        input_limits=_limits(known, scores),
        out_channels=scores.channels,
        output_stride=scores.stride,
        scores=known.scores,
        activation="sigmoid" if sigmoid else "softmax",
        threshold=(_THRESHOLD if options.threshold is None else options.threshold) if sigmoid else None,
        align_corners=options.align_corners,
        reduce_zero_label=options.reduce_zero_label,
        provenance=Provenance(
            config=request.config,
            config_sha256=None if known.config_file is None else file_sha256(known.config_file),
            checkpoint=known.checkpoint,
            checkpoint_sha256=_hash(known.checkpoint),
        ),
        versions=dict(_versions(known.distributions)),
        extra=dict(known.extra),
    )


def _limits(known: Known, scores: Scores) -> InputLimits | None:
    """The sizes that the network takes, as far as they need not be found by trying."""
    if scores.fixed_to is not None:
        return InputLimits(minimum=scores.fixed_to, maximum=scores.fixed_to)
    return known.input_limits


def _classes(
    given: tuple[str, ...], known: Known, channels: int, multilabel: bool, reporter: Reporter
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """The names of the classes, and their colours."""
    wanted = (2, 1) if channels == 1 else (channels,)
    if not given and len(known.classes) in wanted:
        return _labels(known.classes, channels), known.palette if len(known.classes) > 1 else ()
    if not given:
        reporter.warn("no classes are named: they are called class 0, class 1, ...")
        return numbered_classes(wanted[0]), ()
    names = class_names(given)
    if len(names) not in wanted:
        have = f"{channels} channels" if channels > 1 else "one channel, for one class or to separate two"
        raise ModelError(f"{len(names)} classes are named, and the network's scores have {have}")
    return _labels(names, channels), ()


def _labels(names: tuple[str, ...], channels: int) -> tuple[str, ...]:
    return both_classes(names) if channels == 1 else names


def input_files(options: NetworkOptions, *files: Path | None) -> tuple[Path, ...]:
    """The given files, and that of the class names; ``None`` stands for no file."""
    return tuple(file for file in (*files, names_file(options.classes)) if file is not None)


def _with_normalisation(steps: tuple[Step, ...], normalisation: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with others in place of :class:`Normalize`."""
    place = next(place for place, step in enumerate(steps) if isinstance(step, Normalize))
    return (*steps[:place], *normalisation, *steps[place + 1 :])


def _pad(options: NetworkOptions, known: Pad | None) -> Pad | None:
    if options.pad_divisor is None:
        return known
    return None if options.pad_divisor == 1 else Pad(divisor=options.pad_divisor)


def _resize(options: NetworkOptions, known: Resize | None) -> Resize | None:
    """What the user asks for, with the library and the filter of the source's own resize if it has one."""
    if options.resize is None:
        if options.keep_ratio:
            raise _needs_resize("keep_ratio")
        resized = known
    else:
        height, width = options.resize
        fit: Literal["exact", "inside"] = "inside" if options.keep_ratio else "exact"
        like = known or Resize()
        resized = Resize((width, height), fit=fit, algorithm=like.algorithm, filter=like.filter)
    if resized is None:
        for name in ("resize_algorithm", "resize_filter"):
            if getattr(options, name):
                raise _needs_resize(name)
        return None
    algorithm = options.resize_algorithm or resized.algorithm
    filtered = options.resize_filter or resized.filter
    if filtered not in RESIZE_FILTERS[algorithm]:
        raise UsageError(
            f"the resize of {algorithm} has no filter '{filtered}'",
            hint=f"it has {', '.join(RESIZE_FILTERS[algorithm])}",
        )
    return replace(resized, algorithm=algorithm, filter=filtered)


def _needs_resize(name: str) -> UsageError:
    return UsageError(f"{name} says how images are resized", hint="add resize=HEIGHT,WIDTH")


def _inference(options: NetworkOptions) -> Inference:
    if options.crop_size is None:
        return Inference()
    return Inference("slide", crop_size=options.crop_size, stride=options.stride or options.crop_size)


def _hash(checkpoint: str | None) -> str | None:
    return None if checkpoint is None else weights_sha256(expanded(checkpoint))


def _versions(distributions: Collection[str]) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys(("segplug-torch", "torch", *distributions)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)

"""The metadata of a plain module, from the options, its file and its output."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.artifact import file_sha256, weights_sha256
from segplug.errors import ModelError, UsageError
from segplug.model import Inference, ModelMeta, Provenance
from segplug.preprocessing import RESIZE_FILTERS, Pad, Resize
from segplug.progress import Reporter
from segplug.regular_files import expanded
from segplug.requests import LoadModelRequest
from segplug.undescribed import class_names, image_steps, names_file, numbered_classes
from segplug_torch.python_source.factory import Factory
from segplug_torch.python_source.options import Options

if TYPE_CHECKING:
    from segplug_torch.python_source.contract import Scores

__all__ = ["input_files", "make_meta", "nominal_size"]

_THRESHOLD = 0.5


def nominal_size(options: Options) -> tuple[int, int] | None:
    """The (height, width) that the network is meant for; ``None``: no option gives it.

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
    return crop or options.input_size or (None if options.keep_ratio else options.resize)


def make_meta(request: LoadModelRequest[Options], factory: Factory, scores: Scores) -> ModelMeta:
    """Fill a :class:`ModelMeta`.

    Args:
        request: Its locations, overrides and reporter, and what the user says of the network: its options.
        factory: Where the network comes from.
        scores: What the network returns.

    Raises:
        UsageError: options are wrong, or contradict each other.
        ModelError: the network has another number of classes than are named.
    """
    options = request.options
    if options.mean is None and options.std is None:
        request.reporter.warn("neither mean nor std is given: the network gets the pixels as they are")
    decoding, preprocessing = image_steps(
        options.in_channels,
        mean=options.mean,
        std=options.std,
        channel_order=options.channel_order,
        decoding=options.decoding,
        resize=_resize(options),
        pad=None if options.pad_divisor is None else Pad(divisor=options.pad_divisor),
    )
    binary = scores.channels == 1
    if options.threshold is not None and not binary:
        raise UsageError(
            f"threshold is for a network with one channel, and this one has {scores.channels}",
            hint="a sigmoid for each of several classes (multilabel) is not supported: a pixel has one label",
        )
    extra: dict[str, Any] = {}
    if request.cfg_options:  # the hash of the file alone does not say what was built
        extra = {"python": {"cfg_options": {name: str(value) for name, value in request.cfg_options.items()}}}
    return ModelMeta(
        name=factory.name,
        classes=_classes(options.classes, scores.channels, request.reporter),
        in_channels=options.in_channels,
        decoding=decoding,
        preprocessing=preprocessing,
        input_size=nominal_size(options),
        inference=_inference(options),
        out_channels=scores.channels,
        output_stride=scores.stride,
        scores=options.scores,
        activation="sigmoid" if binary else "softmax",
        threshold=(_THRESHOLD if options.threshold is None else options.threshold) if binary else None,
        align_corners=options.align_corners,
        reduce_zero_label=options.reduce_zero_label,
        provenance=Provenance(
            config=request.config,
            config_sha256=None if factory.file is None else file_sha256(factory.file),
            checkpoint=request.checkpoint,
            checkpoint_sha256=_hash(request.checkpoint),
        ),
        versions=dict(_versions()),
        extra=extra,
    )


def _classes(given: tuple[str, ...], channels: int, reporter: Reporter) -> tuple[str, ...]:
    wanted = (2, 1) if channels == 1 else (channels,)
    if not given:
        reporter.warn("no classes are named: they are called class 0, class 1, ...")
        return numbered_classes(wanted[0])
    names = class_names(given)
    if len(names) not in wanted:
        have = f"{channels} channels" if channels > 1 else "one channel, for one class or to separate two"
        raise ModelError(f"{len(names)} classes are named, and the network's scores have {have}")
    return names


def input_files(options: Options, factory: Factory) -> tuple[Path, ...]:
    """The file of the factory and that of the class names, if they are in files."""
    return tuple(file for file in (factory.file, names_file(options.classes)) if file is not None)


def _resize(options: Options) -> Resize | None:
    algorithm, filtered = options.resize_algorithm or "opencv", options.resize_filter or "bilinear"
    if options.resize is None:
        for name in ("keep_ratio", "resize_algorithm", "resize_filter"):
            if getattr(options, name):
                raise UsageError(f"{name} says how images are resized", hint="add resize=HEIGHT,WIDTH")
        return None
    if filtered not in RESIZE_FILTERS[algorithm]:
        raise UsageError(
            f"the resize of {algorithm} has no filter '{filtered}'",
            hint=f"it has {', '.join(RESIZE_FILTERS[algorithm])}",
        )
    height, width = options.resize
    fit: Literal["exact", "inside"] = "inside" if options.keep_ratio else "exact"
    return Resize(scale=(width, height), fit=fit, algorithm=algorithm, filter=filtered)


def _inference(options: Options) -> Inference:
    if options.crop_size is None:
        return Inference()
    return Inference("slide", crop_size=options.crop_size, stride=options.stride or options.crop_size)


def _hash(checkpoint: str | None) -> str | None:
    return None if checkpoint is None else weights_sha256(expanded(checkpoint))


def _versions() -> Iterator[tuple[str, str]]:
    for name in ("segplug-torch", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)

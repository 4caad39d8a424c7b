"""The metadata of a model, read from its config, its checkpoint and its head."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segplug.artifact import file_sha256
from segplug.errors import ModelError
from segplug.model import Inference, ModelMeta, Provenance
from segplug.palette import random_palette
from segplug.progress import Reporter
from segplug.regular_files import expanded
from segplug.text import counted
from segplug_mmseg.compat import import_mmseg, report_warnings
from segplug_mmseg.config import is_list
from segplug_mmseg.pipeline import data_settings, find_transform, read_pipeline

__all__ = ["Head", "class_facts", "colours", "names", "palette_of_class", "read_meta", "versions"]

_DEFAULT_THRESHOLD = 0.3  # of mmseg's heads with one output channel


@dataclass(frozen=True)
class Head:
    """What goes into a network, and what its last decode head gives."""

    num_classes: int
    out_channels: int
    threshold: float | None = None
    align_corners: bool = False
    in_channels: int | None = None
    """Input channels of the backbone's first convolution; ``None``: it has none."""

    @classmethod
    def from_segmentor(cls, segmentor: Any) -> Head:
        """Read it from a built segmentor, which knows its own defaults."""
        from segplug_mmseg.network import first_channels

        head = segmentor.decode_head
        head = head[-1] if hasattr(head, "__getitem__") else head
        channels = int(getattr(segmentor, "out_channels", None) or head.out_channels)
        return cls(
            num_classes=int(getattr(segmentor, "num_classes", None) or head.num_classes),
            out_channels=channels,
            threshold=_threshold(channels, getattr(head, "threshold", None)),
            align_corners=bool(getattr(segmentor, "align_corners", False)),
            in_channels=first_channels(getattr(segmentor, "backbone", segmentor)),
        )


def _threshold(channels: int, given: float | None) -> float | None:
    if channels != 1:
        return None
    return _DEFAULT_THRESHOLD if given is None else float(given)


def read_meta(
    config: Any,
    location: str,
    *,
    head: Head,
    checkpoint: str | None = None,
    checkpoint_meta: Mapping[str, Any] | None = None,
    takes: Callable[[int], bool] = lambda _: False,
    approximate: bool = False,
    reporter: Reporter,
) -> ModelMeta:
    """Fill a :class:`ModelMeta`.

    Args:
        config: The mmcv ``Config``, overrides merged.
        location: The config's path.
        head: The network's input and output.
        checkpoint: Path of the weights, if there are any.
        checkpoint_meta: What the checkpoint's ``meta`` holds.
        takes: Whether the network runs with so many input channels; asked only where its first convolution
            and the test pipeline differ.
        approximate: Leave out what of the test pipeline cannot be expressed, and list it.
        reporter: Gets a warning for what the config does not say.

    Raises:
        ModelError: classes or images do not fit the network, a setting cannot be read, or the test pipeline
            cannot be expressed.
    """
    preprocessing = read_pipeline(
        config, reporter, network=head.in_channels, takes=takes, approximate=approximate
    )
    inference = _inference(config)
    facts = class_facts(data_settings(config, "test"))
    classes, palette = _classes(head, facts, checkpoint_meta or {}, reporter)
    return ModelMeta(
        name=Path(location).stem,
        classes=classes,
        palette=palette,
        in_channels=preprocessing.in_channels,
        decoding=preprocessing.decoding,
        preprocessing=preprocessing.steps,
        tta=preprocessing.tta,
        approximations=preprocessing.approximations,
        input_size=inference.crop_size or preprocessing.nominal_size,
        inference=inference,
        out_channels=head.out_channels,
        activation="sigmoid" if head.out_channels == 1 else "softmax",
        threshold=head.threshold,
        align_corners=head.align_corners,
        reduce_zero_label=_reduces_zero_label(config, facts),
        provenance=Provenance(
            config=location,
            config_sha256=file_sha256(expanded(location)),
            checkpoint=checkpoint,
            checkpoint_sha256=file_sha256(expanded(checkpoint)) if checkpoint else None,
        ),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """The versions of the installed distributions that a model's results depend on."""
    found = {}
    for name in ("segplug-mmseg", "segplug-torch", "mmsegmentation", "mmcv", "mmcv-full", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _inference(config: Any) -> Inference:
    settings = config["model"].get("test_cfg") or config.get("test_cfg") or {}
    if not isinstance(settings, dict):
        raise ModelError(f"model.test_cfg must be a dict, not {settings!r}")
    mode = settings.get("mode", "whole")
    if mode == "whole":
        return Inference()
    if mode != "slide":
        raise ModelError(f"model.test_cfg.mode must be 'whole' or 'slide', not {mode!r}")
    try:
        crop, stride = _edges(settings["crop_size"]), _edges(settings["stride"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("model.test_cfg slides, but has no crop_size and stride of two numbers") from error
    if stride[0] > crop[0] or stride[1] > crop[1]:
        raise ModelError(
            f"model.test_cfg slides in steps of {stride}, larger than its crop_size {crop}: "
            "pixels between the windows would have no prediction"
        )
    return Inference(mode="slide", crop_size=crop, stride=stride)


def _edges(value: Any) -> tuple[int, int]:
    height, width = value if is_list(value) else (value, value)
    if min(int(height), int(width)) < 1:
        raise ValueError("sizes are positive")
    return int(height), int(width)


@dataclass(frozen=True)
class ClassFacts:
    """Facts about a data set from its class and config, without its files."""

    type: str
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    reduce_zero_label: bool | None = None


def class_facts(settings: Mapping[str, Any]) -> ClassFacts:
    """The classes, the colours and the zero label of a data set's class; its files need not be there.

    mmseg sets these before it looks for files. So the object is made with folders that do not exist, and
    read after its constructor has failed.
    """
    from mmseg.datasets import DATASETS

    name = str(settings.get("type", ""))
    kind = DATASETS.get(name) if name else None
    if kind is None:
        return ClassFacts(type=name, classes=names(settings.get("classes")))
    known = {key: settings[key] for key in ("classes", "palette", "reduce_zero_label") if key in settings}
    dataset = kind.__new__(kind)
    with contextlib.suppress(Exception), report_warnings():
        dataset.__init__(pipeline=[], img_dir="/nowhere/segplug", **known)
    return ClassFacts(
        type=name,
        classes=names(getattr(dataset, "CLASSES", None)),
        palette=colours(getattr(dataset, "PALETTE", None)),
        reduce_zero_label=getattr(dataset, "reduce_zero_label", None),
    )


def names(value: Any) -> tuple[str, ...]:
    if value is None or isinstance(value, str) or not isinstance(value, Iterable):
        return ()
    return tuple(str(name) for name in value)


def colours(value: Any) -> tuple[tuple[int, int, int], ...]:
    try:
        return tuple((int(r), int(g), int(b)) for r, g, b in value)
    except (TypeError, ValueError):
        return ()


def palette_of_class(name: str) -> tuple[tuple[int, int, int], ...]:
    """The colours of one of mmseg's data set classes; empty if it has none of that name."""
    import_mmseg()
    from mmseg.datasets import DATASETS

    return colours(getattr(DATASETS.get(name), "PALETTE", None))


def _classes(
    head: Head, dataset: ClassFacts, checkpoint: Mapping[str, Any], reporter: Reporter
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """Class names and colours: of the checkpoint, else of the data set, else class 0, class 1, ...

    Without a palette, mmseg paints with random colours that are always the same: they become the model's.

    A head of one class still tells it from the background, so mmseg scores it with one name or with two.
    """
    wanted = head.num_classes
    accepted = {wanted, 2} if head.out_channels == 1 else {wanted}
    sources = [
        ("the checkpoint", names(checkpoint.get("CLASSES")), colours(checkpoint.get("PALETTE"))),
        (f"the data set ({dataset.type})", dataset.classes, dataset.palette),
    ]
    named = [source for source in sources if source[1]]
    fitting = [source for source in named if len(source[1]) in accepted]
    if not named:
        reporter.warn("neither checkpoint nor config names the classes: they are called class 0, 1, ...")
        return tuple(f"class {index}" for index in range(wanted)), random_palette(wanted)
    if not fitting:
        origin, classes, _ = named[0]
        raise ModelError(
            f"{origin} names {counted(len(classes), 'class', 'classes')}, the network has {wanted}",
            hint="set data.test.classes or num_classes of the decode head with --cfg-options",
        )
    origin, classes, palette = fitting[0]
    if fitting[0] is not named[0]:
        reporter.warn(
            f"{named[0][0]} names {counted(len(named[0][1]), 'class', 'classes')}, not "
            f"{wanted}: those of {origin} are used"
        )
    if len(palette) != len(classes):
        palette = dataset.palette
    if len(palette) != len(classes):
        palette = random_palette(len(classes))
    return classes, palette


def _reduces_zero_label(config: Any, dataset: ClassFacts) -> bool:
    """As the network was trained: from the training pipeline, else from the data set's class."""
    pipeline = data_settings(config, "train").get("pipeline") or config.get("train_pipeline")
    loader = find_transform(pipeline, "LoadAnnotations")
    if loader is not None:
        return bool(loader.get("reduce_zero_label", False))
    return bool(dataset.reduce_zero_label)

"""The metadata of a model: from what its config says, its checkpoint and its head."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segplug.artifact import file_sha256, weights_sha256
from segplug.errors import ModelError
from segplug.model import Inference, ModelMeta, Provenance
from segplug.palette import random_palette
from segplug.progress import Reporter
from segplug.regular_files import expanded
from segplug.text import counted
from segplug_mmseg.checkpoint_meta import class_names, class_palette
from segplug_mmseg.classes import is_a
from segplug_mmseg.pipeline.preprocessing import Preprocessing
from segplug_mmseg.values import is_list

__all__ = ["ClassFacts", "ConfigFacts", "Head", "make_meta", "versions"]

_DEFAULT_THRESHOLD = 0.3  # of mmseg's heads with one output channel

_QUERY_HEADS = (
    "mmseg.models.decode_heads.mask2former_head.Mask2FormerHead",
    "mmseg.models.decode_heads.maskformer_head.MaskFormerHead",
    "mmseg.models.decode_heads.san_head.SideAdapterCLIPHead",
)
"""Heads that add up, over their queries, the probability of a class times that of the query's mask."""


@dataclass(frozen=True)
class Head:
    """What goes into a network, and what its last decode head gives."""

    num_classes: int
    out_channels: int
    threshold: float | None = None
    align_corners: bool = False
    in_channels: int | None = None
    """Input channels of the backbone's first convolution; ``None``: it has none."""
    scores: Literal["logits", "probabilities"] = "logits"
    """As in :class:`~segplug.model.ModelMeta`."""

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
            scores="probabilities" if any(is_a(head, name) for name in _QUERY_HEADS) else "logits",
        )


def _threshold(channels: int, given: float | None) -> float | None:
    if channels != 1:
        return None
    return _DEFAULT_THRESHOLD if given is None else float(given)


@dataclass(frozen=True)
class ClassFacts:
    """Facts about a data set from its class and config, without its files."""

    type: str
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    reduce_zero_label: bool | None = None


@dataclass(frozen=True)
class ConfigFacts:
    """What a config says about a model, besides the network."""

    preprocessing: Preprocessing
    dataset: ClassFacts
    """Of its test data."""
    reduce_zero_label: bool
    """Whether the network was trained with the zero label as background."""
    test_cfg: Any = None
    """``model.test_cfg``."""


def make_meta(
    facts: ConfigFacts,
    location: str,
    *,
    head: Head,
    checkpoint: str | None = None,
    checkpoint_meta: Mapping[str, Any] | None = None,
    reporter: Reporter,
) -> ModelMeta:
    """Fill a :class:`ModelMeta`.

    Args:
        facts: What the config says, overrides merged.
        location: The config's path.
        head: The network's input and output.
        checkpoint: Path of the weights, if there are any.
        checkpoint_meta: What the checkpoint's ``meta`` holds.
        reporter: Gets a warning for what the config does not say.

    Raises:
        ModelError: classes do not fit the network, or a setting cannot be read.
    """
    preprocessing = facts.preprocessing
    inference = _inference(facts.test_cfg or {})
    classes, palette = _classes(head, facts.dataset, checkpoint_meta or {}, reporter)
    return ModelMeta(
        name=Path(location).stem,
        classes=classes,
        palette=palette,
        in_channels=preprocessing.in_channels,
        decoding=preprocessing.decoding,
        preprocessing=preprocessing.steps,
        tta=preprocessing.tta,
        tta_by_default=preprocessing.tta_by_default,
        tta_activates=bool(preprocessing.tta) and head.scores == "probabilities",
        approximations=preprocessing.approximations,
        input_size=inference.crop_size or preprocessing.nominal_size,
        inference=inference,
        out_channels=head.out_channels,
        scores=head.scores,
        activation="sigmoid" if head.out_channels == 1 else "softmax",
        threshold=head.threshold,
        align_corners=head.align_corners,
        reduce_zero_label=facts.reduce_zero_label,
        provenance=Provenance(
            config=location,
            config_sha256=file_sha256(expanded(location)),
            checkpoint=checkpoint,
            checkpoint_sha256=weights_sha256(expanded(checkpoint)) if checkpoint else None,
        ),
        versions=versions(),
    )


_DISTRIBUTIONS = (
    *("segplug-mmseg", "segplug-torch", "torch"),
    *("mmsegmentation", "mmcv", "mmcv-full", "mmcv-lite", "mmengine", "mmdet", "mmpretrain", "mmcls"),
    *("onedl-mmsegmentation", "onedl-mmcv", "onedl-mmengine"),
)


def versions() -> dict[str, str]:
    """The versions of the installed distributions that a model's results depend on."""
    found = {}
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _inference(settings: Any) -> Inference:
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
        ("the checkpoint", class_names(checkpoint), class_palette(checkpoint)),
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
            hint="set data.test.classes (in 1.x test_dataloader.dataset.metainfo.classes) or num_classes of "
            "the decode head with --cfg-options",
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

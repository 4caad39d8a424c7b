"""The metadata of a model, from its folder, its processor and its network."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from segplug.artifact import file_sha256, weights_sha256
from segplug.errors import ModelError
from segplug.model import ModelMeta, Provenance
from segplug.model_folder import model_name
from segplug.text import counted, shortened
from segplug.undescribed import both_classes
from segplug_transformers.hub import data_sets
from segplug_transformers.palettes import palette_for
from segplug_transformers.processor import channels_of

if TYPE_CHECKING:
    from segplug.progress import Reporter
    from segplug.requests import LoadModelRequest
    from segplug_transformers.architectures import Architecture
    from segplug_transformers.folder import Folder
    from segplug_transformers.options import Options
    from segplug_transformers.processor import Processing
    from segplug_transformers.scores import Scores

__all__ = ["class_names", "make_meta"]

_DISTRIBUTIONS = ("segplug-transformers", "segplug-torch", "torch", "transformers")
_THRESHOLD = 0.5
_SHOWN = 60
"""Characters of a class's name in a note."""


def make_meta(
    request: LoadModelRequest[Options],
    folder: Folder,
    architecture: Architecture,
    processing: Processing,
    scores: Scores | None,
    classes: tuple[str, ...],
) -> ModelMeta:
    """Fill a :class:`ModelMeta`.

    Args:
        request: Its location, checkpoint, overrides and reporter.
        folder: What the model was read from.
        architecture: The class of the model.
        processing: What its processor does.
        scores: What the network gives; ``None``: it was not built.
        classes: The names of the classes.

    Raises:
        ModelError: the network has another number of channels than there are classes.
    """
    if scores is not None and scores.channels != len(classes):
        raise ModelError(
            f"{folder.config_file} names {counted(len(classes), 'class', 'classes')}, and the network's "
            f"scores have {counted(scores.channels, 'channel')}"
        )
    binary = len(classes) == 1
    if binary:
        request.reporter.warn(
            "the model has one class, for which the post-processing of transformers gives one label "
            f"everywhere: here a pixel is foreground where its probability is above {_THRESHOLD}"
        )
    return ModelMeta(
        name=model_name(folder.path),
        classes=both_classes(classes),
        palette=() if binary else palette_for(classes, data_sets(folder.path)),
        in_channels=channels_of(folder.config),
        decoding=processing.decoding,
        preprocessing=processing.steps,
        input_size=processing.input_size,
        inference=processing.inference,
        out_channels=len(classes),
        output_stride=1 if scores is None else scores.stride,
        output_size=None if scores is None else scores.size,
        scores="logits" if architecture.kind == "semantic" else "probabilities",
        activation="sigmoid" if binary else "softmax",
        threshold=_THRESHOLD if binary else None,
        output_antialias=architecture.model_type == "oneformer" and processing.backend == "torchvision",
        reduce_zero_label=processing.reduce_zero_label,
        provenance=Provenance(
            config=request.config,
            config_sha256=file_sha256(folder.config_file),
            checkpoint=None if folder.weights is None else str(folder.weights),
            checkpoint_sha256=None if folder.weights is None else weights_sha256(folder.weights),
        ),
        versions=dict(_versions()),
        extra={"transformers": dict(_extra(request, folder, architecture, processing))},
    )


def class_names(config: Any, reporter: Reporter) -> tuple[str, ...]:
    """The names of the classes in label order, each once.

    Args:
        config: The config of transformers, whose ``id2label`` has a name for each label.
        reporter: Gets a note if several classes have one name.
    """
    names = [str(config.id2label[label]) for label in sorted(config.id2label)]
    counts = Counter(names)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if not twice:
        return tuple(names)
    shown = ", ".join(shortened(name, _SHOWN) for name in twice[:3])
    reporter.note(
        f"several classes have one name ({shown}{', ...' if len(twice) > 3 else ''}): each is told apart by "
        "its label, in brackets behind the name"
    )
    return tuple(f"{name} ({label})" if counts[name] > 1 else name for label, name in enumerate(names))


def _extra(
    request: LoadModelRequest[Options], folder: Folder, architecture: Architecture, processing: Processing
) -> Iterator[tuple[str, Any]]:
    yield "architecture", architecture.name
    yield "processor", processing.backend
    if request.cfg_options:  # the config's hash alone does not say what was built
        yield "cfg_options", {key: str(value) for key, value in request.cfg_options.items()}
    if folder.processor is not None:
        yield "processor_config", json.loads(json.dumps(folder.processor))


def _versions() -> Iterator[tuple[str, str]]:
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)

"""What a folder says of its model without the network: its classes, and how images are prepared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from segplug.preprocessing import Crop, Resize
from segplug_transformers import processor
from segplug_transformers.folder import read_folder
from segplug_transformers.meta import class_names, make_meta
from segplug_transformers.options import installed_backend, windows
from segplug_transformers.refusals import require_architecture, require_own_labels

if TYPE_CHECKING:
    from segplug.model import ModelMeta
    from segplug.requests import LoadModelRequest
    from segplug_transformers.architectures import Architecture
    from segplug_transformers.folder import Folder
    from segplug_transformers.options import Options
    from segplug_transformers.processor import Processing

__all__ = ["describe", "requested_processing"]

_LABELS = 2
"""The number of labels of a config of transformers that does not say it."""


def describe(request: LoadModelRequest[Options]) -> ModelMeta:
    """The metadata of the model in a folder; neither PyTorch nor transformers is imported.

    Args:
        request: Its location, overrides, options and reporter.

    Raises:
        ModelError: the folder holds no segmentation model, or one whose processor cannot be followed.
        UsageError: an option is wrong.
    """
    folder = read_folder(request.config, request.cfg_options, need_weights=False)
    architecture = require_architecture(folder)
    require_own_labels(folder)
    processing = requested_processing(request, folder, architecture)
    classes = class_names(SimpleNamespace(id2label=_labels(folder.config)), request.reporter)
    meta = make_meta(request, folder, architecture, processing, None, classes)
    return meta.replace(versions={})  # those that are installed have made nothing of it


def requested_processing(
    request: LoadModelRequest[Options], folder: Folder, architecture: Architecture
) -> Processing:
    """What the processor does; with the windows that the user asks for, at the image's own size."""
    asked = windows(request.options)
    choice = request.options.processor
    backend = installed_backend() if choice == "auto" else choice
    found = processor.read(folder, architecture, backend)
    for note in found.notes:
        request.reporter.warn(note)
    if asked is None:
        return found
    steps = tuple(step for step in found.steps if not isinstance(step, (Resize, Crop)))
    return replace(found, steps=steps, inference=asked, input_size=asked.crop_size)


def _labels(config: Mapping[str, Any]) -> dict[int, Any]:
    """The names by label, which transformers leaves out of a config where they are its defaults."""
    given = config.get("id2label")
    if given is None:
        return {label: f"LABEL_{label}" for label in range(config.get("num_labels", _LABELS))}
    return {int(label): name for label, name in given.items()}

"""Describe the folder of a model in a Triton repository by its ``config.pbtxt``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from segplug.description import FileDescription, NamedAxis, TensorDescription
from segplug.engine import Axis
from segplug_triton.repository import ModelFolder
from segplug_triton.signature import TYPES

__all__ = ["describe"]

_NAMES = {number: name for name, number in TYPES.items()}


def describe(folder: ModelFolder) -> FileDescription:
    """The inputs, outputs and versions of a model.

    Raises:
        ArtifactError: ``config.pbtxt`` is damaged.
    """
    config = folder.config()
    versions = folder.others(0)
    found = {
        "model": config.name or folder.path.name,
        "platform": config.platform or config.backend,
        "versions": [str(version) for version in versions],
        "largest batch": config.max_batch_size or None,
    }
    repository = shlex.quote(str(folder.path.absolute().parent))
    return FileDescription(
        "model for Triton",
        tuple(_tensors(config.input, config.max_batch_size)),
        tuple(_tensors(config.output, config.max_batch_size)),
        {what: value for what, value in found.items() if value},
        next=(f"tritonserver --model-repository={repository}",),
        notes=() if versions else ("it has no version: Triton looks for folders whose names are numbers",),
    )


def _tensors(tensors: Iterable[Any], largest_batch: int) -> Iterable[TensorDescription]:
    """Inputs or outputs; where Triton forms batches, ``dims`` leaves out the axis of the batch."""
    from tritonclient.grpc.model_config_pb2 import DataType

    for tensor in tensors:
        kind = DataType.Name(tensor.data_type)
        batch = [NamedAxis(Axis(1, largest_batch), "batch")] if largest_batch else []
        axes = [NamedAxis(Axis.fixed(size) if size > 0 else Axis()) for size in tensor.dims]
        yield TensorDescription(
            tensor.name, _NAMES.get(kind, kind.removeprefix("TYPE_").lower()), (*batch, *axes)
        )

"""The inputs and outputs of an artifact of any format, in Triton's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segplug.model import ModelMeta

__all__ = ["FREE", "TYPES", "Packable", "Tensor"]

FREE = -1
"""The size of a free axis."""

TYPES: Mapping[str, str] = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "bfloat16": "TYPE_BF16",
}
"""From numpy's names of data types to Triton's."""


@dataclass(frozen=True)
class Tensor:
    """One input or output."""

    name: str
    type: str
    """Triton's name of the data type: ``TYPE_FP32``."""
    shape: tuple[int, ...]
    """The sizes of all axes, including the batch; :data:`FREE` for a free axis."""


@dataclass(frozen=True)
class Packable:
    """Everything that a repository needs to know about an artifact."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    files: Mapping[str, Path]
    """The path of each file in the version's folder, and the file to copy there."""
    meta: ModelMeta | None = None
    """``None``: the file has no metadata."""
    takes_one_image: bool = True
    """Whether a batch may be a single image; Triton's batches may be."""
    max_batch: int | None = None
    """The largest batch; ``None``: no limit is known."""
    bound_to: Literal["cpu", "gpu"] | None = None
    """The only device on which it runs; ``None``: any."""

    @property
    def batch_is_free(self) -> bool:
        """Whether Triton may form batches: every tensor's first axis is free, and not its only axis."""
        tensors = (*self.inputs, *self.outputs)
        return self.takes_one_image and all(len(item.shape) > 1 and item.shape[0] == FREE for item in tensors)

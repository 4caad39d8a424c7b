"""What an artifact takes and gives, as Triton asks for it, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segplug.model import ModelMeta

__all__ = ["FREE", "TYPES", "Packable", "Tensor"]

FREE = -1
"""The size of an axis that may vary."""

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
"""numpy's name of a data type to Triton's."""


@dataclass(frozen=True)
class Tensor:
    """One input or output."""

    name: str
    type: str
    """Triton's name of the data type: ``TYPE_FP32``."""
    shape: tuple[int, ...]
    """Every axis, the batch included; :data:`FREE` where it may vary."""


@dataclass(frozen=True)
class Packable:
    """An artifact, read: all that its place in a repository depends on."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    files: Mapping[str, Path]
    """Where each file goes, relative to the version's folder, and where it comes from."""
    meta: ModelMeta | None = None
    """``None``: the file says nothing of preprocessing and classes."""
    batches: bool = True
    """Whether it may be given every batch from one image on, where the axis is free."""
    most: int | None = None
    """Images of the largest batch; ``None``: no limit is known."""
    bound_to: Literal["cpu", "gpu"] | None = None
    """Where it runs and nowhere else; ``None``: anywhere."""

    @property
    def batch_is_free(self) -> bool:
        """Whether Triton may choose the batch: every tensor's first axis varies, and is not the only one."""
        tensors = (*self.inputs, *self.outputs)
        return self.batches and all(len(item.shape) > 1 and item.shape[0] == FREE for item in tensors)

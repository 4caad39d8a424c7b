"""Reads the inputs and outputs of a TensorRT plan from the metadata file beside it.

Only the TensorRT and the GPU that it was built for can read a plan itself. So the metadata (``<plan>.json``,
a :class:`segplug.model.ModelMeta`) must describe it, in ``extra["tensorrt"]``::

    {"input":  {"name": "input", "dtype": "float32", "shape": [-1, 3, -1, -1]},
     "output": {"name": "output", "dtype": "int64", "shape": [-1, -1, -1]},
     "profiles": [{"min": [1, 3, 256, 256], "opt": [4, 3, 512, 1024], "max": [8, 3, 512, 1024]}]}

-1 is a free axis. Triton uses the first profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segplug.artifact import read_sidecar, sidecar_path
from segplug.errors import ArtifactError
from segplug.requests import PackRequest
from segplug_triton.signature import FREE, TYPES, Packable, Tensor

__all__ = ["read"]


def read(path: Path, filename: str, request: PackRequest[Any]) -> Packable:
    """Describe a plan from its metadata file; the plan itself is not opened.

    Raises:
        ArtifactError: the metadata file is missing or incomplete.
    """
    meta = read_sidecar(path)
    if meta is None:
        raise ArtifactError(
            f"the metadata of {path} is missing",
            hint=f"build_engine writes {sidecar_path(path).name} beside it",
        )
    described = meta.extra.get("tensorrt", {})
    try:
        image, answer = _tensor(described["input"]), _tensor(described["output"])
        smallest, largest = _batch_range(image, described.get("profiles", ()))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(
            f"{sidecar_path(path)} does not describe the plan's input and output: {error!r} in extra.tensorrt"
        ) from error
    return Packable(
        inputs=(image,),
        outputs=(answer,),
        files={filename: path},
        meta=meta,
        takes_one_image=smallest == 1,
        max_batch=largest,
        bound_to="gpu",
    )


def _tensor(described: Mapping[str, Any]) -> Tensor:
    shape = tuple(int(size) for size in described["shape"])
    if not shape or not all(size == FREE or size > 0 for size in shape):
        raise ValueError(f"shape {list(shape)}")
    return Tensor(str(described["name"]), TYPES[described["dtype"]], shape)


def _batch_range(image: Tensor, profiles: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """The smallest and the largest batch of the profile that Triton uses."""
    if image.shape[0] != FREE:
        return image.shape[0], image.shape[0]
    return int(profiles[0]["min"][0]), int(profiles[0]["max"][0])

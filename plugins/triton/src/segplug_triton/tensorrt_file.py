"""What a TensorRT plan takes and gives: as its maker wrote it beside the plan.

A plan can be read only by the TensorRT and the GPU that it was built for, so the sidecar
(``<plan>.json``, a :class:`segplug.model.ModelMeta`) has to say it, under ``extra["tensorrt"]``::

    {"input":  {"name": "input", "dtype": "float32", "shape": [-1, 3, -1, -1]},
     "output": {"name": "output", "dtype": "int64", "shape": [-1, -1, -1]},
     "profiles": [{"min": [1, 3, 256, 256], "opt": [4, 3, 512, 1024], "max": [8, 3, 512, 1024]}]}

-1 is an axis that varies. The first profile is the one that Triton uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segplug.artifact import read_sidecar, sidecar_path
from segplug.errors import ArtifactError
from segplug.requests import ExportRequest
from segplug_triton.signature import FREE, TYPES, Packable, Tensor

__all__ = ["read"]


def read(path: Path, filename: str, request: ExportRequest) -> Packable:
    """Describe a plan from its sidecar; the plan itself is not opened.

    Raises:
        ArtifactError: there is no sidecar, or it does not say what the plan takes and gives.
    """
    meta = read_sidecar(path)
    if meta is None:
        raise ArtifactError(
            f"nothing says what {path} takes and gives", hint=f"its maker writes {sidecar_path(path).name}"
        )
    said = meta.extra.get("tensorrt", {})
    try:
        image, answer = _tensor(said["input"]), _tensor(said["output"])
        smallest, largest = _batches(image, said.get("profiles", ()))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ArtifactError(
            f"{sidecar_path(path)} does not say what the plan takes and gives: {error!r} in extra.tensorrt"
        ) from error
    return Packable(
        inputs=(image,),
        outputs=(answer,),
        files={filename: path},
        meta=meta,
        batches=smallest == 1,
        most=largest,
        bound_to="gpu",
    )


def _tensor(said: Mapping[str, Any]) -> Tensor:
    shape = tuple(int(size) for size in said["shape"])
    if not shape or not all(size == FREE or size > 0 for size in shape):
        raise ValueError(f"shape {list(shape)}")
    return Tensor(str(said["name"]), TYPES[said["dtype"]], shape)


def _batches(image: Tensor, profiles: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """The smallest and the largest batch of the profile that Triton uses."""
    if image.shape[0] != FREE:
        return image.shape[0], image.shape[0]
    return int(profiles[0]["min"][0]), int(profiles[0]["max"][0])

"""What a plan was built with and for: written beside it, checked before it is opened."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segplug.artifact import file_sha256
from segplug.errors import ArtifactError
from segplug.model import ModelMeta
from segplug_tensorrt.driver import Gpu
from segplug_tensorrt.library import Flavor, Library
from segplug_tensorrt.profiles import Profile

__all__ = ["KEY", "Record", "Tensor", "check_plan", "differences", "read_record"]

KEY = "tensorrt"
"""Under which it lies in ``ModelMeta.extra``."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of the network; -1 is an axis that varies."""

    name: str
    dtype: str
    """numpy's name: ``float32``, ``int64``."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Record:
    """One plan."""

    flavor: Flavor
    version: str
    """Of TensorRT or TensorRT-RTX."""
    precision: str
    input: Tensor
    output: Tensor
    profiles: tuple[Profile, ...]
    onnx_sha256: str | None
    """Of the ONNX file that it was built from; ``None``: from a model itself."""
    plan_sha256: str
    """Of the plan itself: a sidecar of another plan is found out."""
    cuda: str | None = None
    """The driver's CUDA version; ``None``: built without a driver."""
    gpu: str | None = None
    compute_capability: str | None = None
    """``9.0``; ``None``: for any GPU that the flavour knows."""

    def into(self, meta: ModelMeta) -> ModelMeta:
        """``meta`` with this record."""
        data = asdict(self)
        data["profiles"] = [profile.to_dict() for profile in self.profiles]
        for tensor in ("input", "output"):
            data[tensor]["shape"] = list(data[tensor]["shape"])
        return meta.replace(extra={**meta.extra, KEY: data})

    def with_gpu(self, gpu: Gpu, cuda: str) -> Record:
        """The same, built for ``gpu``."""
        capability = ".".join(map(str, gpu.compute_capability))
        return replace(self, cuda=cuda, gpu=gpu.name, compute_capability=capability)


def read_record(meta: ModelMeta, path: Path) -> Record:
    """The record that a plan's metadata holds.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    said: Any = meta.extra.get(KEY)
    try:
        profiles = tuple(
            Profile(*(tuple(each[name]) for name in ("min", "opt", "max"))) for each in said["profiles"]
        )
        tensors = {
            name: Tensor(said[name]["name"], said[name]["dtype"], tuple(said[name]["shape"]))
            for name in ("input", "output")
        }
        return Record(**{**said, "profiles": profiles, **tensors})
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path}.json does not say how the plan was built: {error!r}", hint="build the engine again"
        ) from error


def check_plan(record: Record, path: Path) -> None:
    """Refuse a plan that is not the one its sidecar tells of: cut, damaged, or put in another's place.

    Raises:
        ArtifactError: its bytes are others.
    """
    if file_sha256(path) != record.plan_sha256:
        raise ArtifactError(
            f"{path} is not the plan that {path.name}.json describes: it was cut, changed or replaced",
            hint="build the engine again",
        )


def differences(record: Record, library: Library, gpu: Gpu) -> tuple[str, ...]:
    """Why this plan cannot be opened here, a phrase each; empty: nothing speaks against it."""
    found = []
    if record.flavor != library.flavor:
        found.append(f"it was built with {record.flavor}, and {library.flavor} is what would open it")
    elif record.version != library.version:
        found.append(f"it was built with {record.flavor} {record.version}, here is {library.version}")
    here = ".".join(map(str, gpu.compute_capability))
    if record.compute_capability not in (None, here):
        found.append(
            f"it was built for {record.gpu} (compute capability {record.compute_capability}), "
            f"this is {gpu.name} ({here})"
        )
    elif record.gpu not in (None, gpu.name) and record.flavor == "tensorrt":
        found.append(f"it was built for {record.gpu}, this is {gpu.name}")
    return tuple(found)

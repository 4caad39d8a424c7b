"""The record of how a plan was built: written beside it, checked before it is opened."""

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
"""The key of the record in ``ModelMeta.extra``."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of the network; -1 is an axis that varies."""

    name: str
    dtype: str
    """numpy's name: ``float32``, ``int64``."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Record:
    """How one plan was built."""

    flavor: Flavor
    version: str
    """The version of TensorRT or TensorRT-RTX."""
    precision: str
    input: Tensor
    output: Tensor
    profiles: tuple[Profile, ...]
    onnx_sha256: str | None
    """The hash of the ONNX file that it was built from; ``None``: built from a loaded model."""
    plan_sha256: str
    """The hash of the plan, which shows whether the sidecar belongs to the plan."""
    cuda: str | None = None
    """The driver's CUDA version; ``None``: built without a driver."""
    gpu: str | None = None
    compute_capability: str | None = None
    """``9.0``; ``None``: built for every GPU that the library supports."""

    def add_to(self, meta: ModelMeta) -> ModelMeta:
        """A copy of ``meta`` with this record."""
        data = asdict(self)
        data["profiles"] = [profile.to_dict() for profile in self.profiles]
        for tensor in ("input", "output"):
            data[tensor]["shape"] = list(data[tensor]["shape"])
        return meta.replace(extra={**meta.extra, KEY: data})

    def with_gpu(self, gpu: Gpu, cuda: str) -> Record:
        """A copy of the record, with the GPU that it was built for."""
        capability = ".".join(map(str, gpu.compute_capability))
        return replace(self, cuda=cuda, gpu=gpu.name, compute_capability=capability)


def read_record(meta: ModelMeta, path: Path) -> Record:
    """The record that a plan's metadata holds.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    data: Any = meta.extra.get(KEY)
    try:
        profiles = tuple(
            Profile(*(_numbers(each[name]) for name in ("min", "opt", "max"))) for each in data["profiles"]
        )
        tensors = {
            name: Tensor(data[name]["name"], data[name]["dtype"], _numbers(data[name]["shape"]))
            for name in ("input", "output")
        }
        return Record(**{**data, "profiles": profiles, **tensors})
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtifactError(
            f"{path}.json does not say how the plan was built: {error!r}", hint="build the engine again"
        ) from error


def _numbers(values: Any) -> Any:
    return tuple(map(int, values))


def check_plan(record: Record, path: Path) -> None:
    """Refuse a plan that its sidecar does not describe: one that was cut, changed or replaced.

    Raises:
        ArtifactError: its hash is not the one in the record.
    """
    if file_sha256(path) != record.plan_sha256:
        raise ArtifactError(
            f"{path} is not the plan that {path.name}.json describes: it was cut, changed or replaced",
            hint="build the engine again",
        )


def differences(record: Record, library: Library, gpu: Gpu) -> tuple[str, ...]:
    """The reasons why a plan cannot be opened here, one phrase each; empty if it can."""
    found = []
    if record.flavor != library.flavor:
        found.append(f"it was built with {record.flavor}, not with {library.flavor}")
    elif record.version != library.version:
        found.append(f"it was built with {record.flavor} {record.version}, not with {library.version}")
    here = ".".join(map(str, gpu.compute_capability))
    if record.compute_capability not in (None, here):
        found.append(
            f"it was built for {record.gpu} (compute capability {record.compute_capability}), "
            f"not for {gpu.name} ({here})"
        )
    elif record.gpu not in (None, gpu.name) and record.flavor == "tensorrt":
        found.append(f"it was built for {record.gpu}, not for {gpu.name}")
    return tuple(found)

"""The parts that both exporters share: the checks before a trace, the metadata, the file."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from segplug.engine import Axis
from segplug.errors import MissingDependencyError, UsageError
from segplug.model import ModelMeta
from segplug.quiet import quiet
from segplug.requests import ExportRequest, MakePlan
from segplug.tracing import TracePlan
from segplug_torchscript import archive

if TYPE_CHECKING:
    import torch

    from segplug_torchscript.size_checks import Shape

__all__ = ["Details", "axes", "check_plan", "completed", "require_torch", "sample", "write"]


def check_plan(plan: MakePlan[Any], target: str, suffix: str) -> None:
    """Check what both exporters need.

    Raises:
        UsageError: the output has another suffix.
        MissingDependencyError: PyTorch is not installed.
    """
    if plan.destination.suffix != suffix:
        raise UsageError(
            f"export {target} writes {suffix} files, and {plan.destination} does not end in {suffix}"
        )
    require_torch(f"export {target}")


def require_torch(target: str) -> None:
    """Raises :class:`MissingDependencyError` without PyTorch."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"{target} needs torch", hint="pip install torch") from error


def sample(request: ExportRequest[Any], batch: int, size: tuple[int, int]) -> torch.Tensor:
    """An input to trace with: noise, the same every time, on the model's device."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shape = (batch, request.model.meta.in_channels, *size)
    return torch.randn(shape, generator=generator).to(request.model.device)


@dataclass(frozen=True)
class Details:
    """What an exporter notes of a file, as far as it is needed to run it."""

    free: tuple[str, ...] = ()
    """The axes that may vary."""
    machine: Mapping[str, str] = field(default_factory=dict)
    """What a compiled package was made for."""


def axes(meta: ModelMeta, target: str, file: Path) -> dict[str, Axis]:
    """The sizes that a file of this metadata takes, as ``TorchEngine`` wants them."""
    free = meta.extra_as(target, Details, file=file).free
    height, width = meta.input_size or (1, 1)
    fixed = {"batch": 1, "height": height, "width": width}
    return {name: Axis() if name in free else Axis.fixed(size) for name, size in fixed.items()}


def completed(
    request: ExportRequest[Any], plan: TracePlan, target: str, tried: tuple[Shape, ...], **details: Any
) -> ModelMeta:
    """The model's metadata, with those of this file."""
    meta = plan.meta(request)
    made_by = ("segplug", "segplug-torch", "segplug-torchscript", "torch")
    versions = {**meta.versions, **{name: distributions.version(name) for name in made_by}}
    own = {
        "free": list(plan.free.values()),
        "tried": ["x".join(map(str, shape)) for shape in tried],
        **details,
    }
    return meta.replace(versions=versions, extra={**meta.extra, target: own})


def write(request: ExportRequest[Any], meta: ModelMeta, save: Callable[[BinaryIO], None]) -> None:
    """Write ``request.output``, with ``meta`` inside.

    Args:
        request: Where to write.
        meta: The metadata of the file.
        save: Packs the network as PyTorch does; into memory, since on a full disk PyTorch ends the process.
    """
    content = io.BytesIO()
    with quiet():
        save(content)
    archive.write_file(content, request.output, meta)

"""Describe a TensorRT plan by the record beside it; the plan itself, which is code, is not opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segplug.artifact import read_sidecar, sidecar_path
from segplug.description import FileDescription, NamedAxis, TensorDescription
from segplug.engine import Axis
from segplug.errors import ArtifactError
from segplug_tensorrt.profiles import Profile
from segplug_tensorrt.record import KEY, Record, Tensor, check_plan, read_record

__all__ = ["describe"]

_AXES = ("batch", "channels", "height", "width")


def describe(path: Path, *, from_model: bool) -> FileDescription | None:
    """What the record says of how the plan was built.

    Args:
        path: The plan.
        from_model: Whether it should have been built from a loaded model, in place of an ONNX file.

    Returns:
        ``None`` if another maker built it.

    Raises:
        ArtifactError: the record is damaged.
    """
    meta = read_sidecar(path)
    if meta is None or KEY not in meta.extra:
        note = f"{sidecar_path(path).name} is not beside it, without which segplug opens no engine"
        return None if from_model else FileDescription("TensorRT engine", notes=(note,))
    record = read_record(meta, path)
    if from_model != (record.onnx_sha256 is None):
        return None
    names = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
    return FileDescription(
        f"{names[record.flavor]} engine",
        (_tensor(record.input, record.profiles),),
        (_tensor(record.output, ()),),
        _details(record),
        notes=_faults(record, path),
    )


def _details(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {
        "built with": f"{record.flavor} {record.version}",
        "precision": record.precision,
        "for": "every GPU that the library supports",
        "input sizes": [_in_words(profile) for profile in record.profiles],
    }
    if record.compute_capability is not None:
        cuda = f", CUDA {record.cuda}" if record.cuda else ""
        found["for"] = f"{record.gpu} (compute capability {record.compute_capability}{cuda})"
    return found


def _in_words(profile: Profile) -> str:
    low, usual, high = ("x".join(map(str, shape)) for shape in (profile.min, profile.opt, profile.max))
    return low if low == high else f"{low} to {high}, fastest at {usual}"


def _tensor(tensor: Tensor, profiles: Sequence[Profile]) -> TensorDescription:
    """A tensor; the free axes of the input take what the profiles say."""
    axes = []
    for position, size in enumerate(tensor.shape):
        name = _AXES[position] if len(tensor.shape) == len(_AXES) else ""
        if size > 0:
            axes.append(NamedAxis(Axis.fixed(size)))
        elif profiles:
            low = min(profile.min[position] for profile in profiles)
            axes.append(NamedAxis(Axis(low, max(profile.max[position] for profile in profiles)), name))
        else:
            axes.append(NamedAxis(Axis(), name))
    return TensorDescription(tensor.name, tensor.dtype, tuple(axes))


def _faults(record: Record, path: Path) -> tuple[str, ...]:
    try:
        check_plan(record, path)
    except ArtifactError as error:
        return (str(error),)
    return ()

"""Describe a TorchScript file or a torch.export program, without PyTorch and without running it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from segplug.description import FileDescription, NamedAxis, TensorDescription
from segplug.engine import Axis
from segplug.model import ModelMeta
from segplug_torchscript import archive, packing

__all__ = ["describe"]


def describe(path: Path, target: str) -> FileDescription | None:
    """The input and output that the metadata of segplug says, and what the file holds.

    Args:
        path: The file.
        target: The ``export`` target that may have made it.

    Returns:
        ``None`` if it is of another kind.

    Raises:
        ArtifactError: it is no file of PyTorch's, is cut, or its metadata is damaged.
    """
    contents = archive.read_contents(path, target)
    if contents is None:
        return None
    meta = archive.read_meta(path, target)
    what = contents.what.removeprefix("a ")
    details: dict[str, Any] = {"bytes of code": contents.code, "bytes of weights": contents.weights}
    if meta is None:
        return _of_another_tool(path, target, what, details)
    own = meta.extra_as(target, packing.Details, file=path)
    if own.machine:
        details |= {"compiled for": dict(own.machine)}
    inputs, outputs = _tensors(meta, packing.axes(meta, target, path))
    return FileDescription(what, (inputs,), (outputs,), details)


def _of_another_tool(path: Path, target: str, what: str, details: dict[str, Any]) -> FileDescription:
    """What can be done with a file that does not say how it is used."""
    note = "segplug did not write this file: it has no metadata of classes and preprocessing"
    if what == archive.COMPILED:
        return FileDescription(what, details=details, notes=(f"{note}, and no graph that could be exported",))
    facts = "--mean ... --std ... --classes ..."
    file = shlex.quote(str(path))
    return FileDescription(
        what,
        details=details,
        notes=(f"{note}. It is a model of the source {target}, once flags say how it is used",),
        next=(
            f"segplug predict {file} photo.jpg {facts}",
            f"segplug export onnx {file} {facts} --output model.onnx --verify",
        ),
    )


def _tensors(meta: ModelMeta, axes: dict[str, Axis]) -> tuple[TensorDescription, TensorDescription]:
    """Images in, scores out, whose size is the input's divided by the stride, or one of their own."""
    batch = NamedAxis(axes["batch"], "batch")
    image = [NamedAxis(axes[name], name) for name in ("height", "width")]
    scores = [_divided(axis, meta.output_stride) for axis in image]
    if meta.output_size is not None:
        scores = [_fixed(edge) for edge in meta.output_size]
    return (
        TensorDescription("input", "float32", (batch, _fixed(meta.in_channels), *image)),
        TensorDescription("output", "float32", (batch, _fixed(meta.out_channels), *scores)),
    )


def _fixed(size: int) -> NamedAxis:
    return NamedAxis(Axis.fixed(size))


def _divided(axis: NamedAxis, stride: int) -> NamedAxis:
    if axis.sizes.is_fixed:
        return _fixed(-(-axis.sizes.minimum // stride))
    return axis if stride == 1 else NamedAxis(Axis(), f"{axis.name}/{stride}")

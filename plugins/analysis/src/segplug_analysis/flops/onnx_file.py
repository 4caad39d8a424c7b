"""Read an ONNX file for counting: the graph without the values of its weights, and the image input."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, inliner

from segplug.companions import named_companion, require_companion
from segplug.errors import ArtifactError, ShapeError, UsageError
from segplug.limits import why_no_input
from segplug.model import META_ENTRY, ModelMeta
from segplug.regular_files import why_no_file
from segplug_analysis.flops.rules import Shape

__all__ = ["ImageInput", "check_limits", "image_input", "read_file", "read_meta", "weights_folder"]


@dataclass(frozen=True)
class ImageInput:
    """The image input of a graph. An axis that is free is 0."""

    name: str
    axes: tuple[int, int, int, int]
    channels_last: bool

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return self.axes[3 if self.channels_last else 1]

    @property
    def own_size(self) -> tuple[int, int] | None:
        """The (height, width) that the file fixes; ``None``: one of them is free."""
        height, width = self.size_of(self.axes)
        return (height, width) if height and width else None

    def size_of(self, shape: Shape) -> tuple[int, int]:
        """Height and width in a shape of this input."""
        return (shape[1], shape[2]) if self.channels_last else (shape[2], shape[3])

    def fed(self, size: tuple[int, int], path: Path) -> Shape:
        """The input's shape for an image of ``size`` (height, width), with a batch of 1 where it is free.

        Raises:
            ShapeError: the file fixes another size.
        """
        height, width = self.size_of(self.axes)
        if (height or size[0], width or size[1]) != size:
            fixed = "x".join(str(axis or "any") for axis in (height, width))
            raise ShapeError(f"{path} takes an input of {fixed} only, not of {size[0]}x{size[1]}")
        if reason := why_no_input(size, channels=self.channels, batch=self.axes[0] or 1):
            raise ShapeError(f"{path}: {reason}")
        image = (*size, self.channels) if self.channels_last else (self.channels, *size)
        return (self.axes[0] or 1, *image)


def read_file(path: Path) -> onnx.ModelProto:
    """The graph, with local functions inlined; external weights are not read.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is no ONNX file, or external weights are missing.
    """
    if reason := why_no_file(path):
        raise UsageError(reason)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own errors share no base class
        raise ArtifactError(f"{path} is not an ONNX file, or was cut") from error
    if not model.graph.node:
        raise ArtifactError(f"{path} is not an ONNX file, or was cut: it holds no graph")
    _find_weights(model, path)
    return inliner.inline_local_functions(model) if model.functions else model


def weights_folder(path: Path) -> Path:
    """The folder that holds all files of weights, wherever the links of a model and of its weights lead."""
    return Path(os.path.commonpath([path.parent.resolve(), path.resolve().parent]))


def _find_weights(model: onnx.ModelProto, path: Path) -> None:
    """Check that the files of weights are there, and name them relative to :func:`weights_folder`.

    ONNX Runtime itself follows no link that leads out of a model's folder.
    """
    for weight in model.graph.initializer:
        if weight.data_location != TensorProto.EXTERNAL:
            continue
        locations = [entry for entry in weight.external_data if entry.key == "location"]
        file = named_companion(path, locations[0].value if locations else "")
        require_companion(path, file)
        for entry in locations:
            entry.value = os.path.relpath(file.resolve(), weights_folder(path))


def check_limits(meta: ModelMeta | None, size: tuple[int, int], path: Path) -> None:
    """Check a size against the limits of the original network: the graph may not refuse other sizes.

    Raises:
        ShapeError: ``size`` (height, width) is outside the limits.
    """
    limits = None if meta is None else meta.input_limits
    if limits is None:
        return
    largest = limits.maximum or size
    for length, lower, upper in zip(size, limits.minimum, largest, strict=True):
        if not lower <= length <= upper or length % limits.multiple_of:
            raise ShapeError(f"the network of {path} takes {limits}, not {size[0]}x{size[1]}")


def read_meta(model: onnx.ModelProto, path: Path) -> ModelMeta | None:
    """The metadata that segplug wrote into ``path`` at the export; ``None``: another tool made the file."""
    text = next((entry.value for entry in model.metadata_props if entry.key == META_ENTRY), None)
    return None if text is None else ModelMeta.from_json(text, file=path)


_USUAL_CHANNELS = (3, 1, 4)
"""Channels by which an input with the channels last is known: grey, colours, colours and alpha."""


def image_input(model: onnx.ModelProto, path: Path, channels: int | None) -> ImageInput:
    """The input that takes the image.

    Args:
        model: The graph.
        path: Its file, for messages.
        channels: Channels of the image, where the file's metadata says it: they come first. ``None``: not
            known.

    Raises:
        ArtifactError: there is no such input, or there are several inputs.
    """
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(info.name for info in inputs)
        raise ArtifactError(f"{path} takes {len(inputs)} inputs, not one image: {names}")
    (info,) = inputs
    dims = tuple(int(dim.dim_value) for dim in info.type.tensor_type.shape.dim)
    if len(dims) != 4:
        raise ArtifactError(f"{path} does not take images: its input {info.name} has {len(dims)} axes, not 4")
    if channels is not None:
        if dims[1] not in (0, channels):
            raise ArtifactError(
                f"the input of {path} has {dims[1]} channels, and its metadata says {channels}"
            )
        return ImageInput(info.name, (dims[0], channels, dims[2], dims[3]), channels_last=False)
    channels_last = dims[1] not in _USUAL_CHANNELS and dims[3] in _USUAL_CHANNELS
    image = ImageInput(info.name, dims, channels_last)
    if not image.channels:
        raise ArtifactError(f"{path} does not say how many channels its input {info.name} has")
    return image

"""Ultralytics: its exporter writes the task, the names of the classes and the size of images into the file.

The steps are those of its own predictor: an image is fitted into the size, the rest is filled with grey on
all sides, and the labels are cut out and resized by PyTorch's ``nearest``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segplug.errors import ArtifactError
from segplug.limits import MOST_CHANNELS, why_no_input
from segplug.model import ModelMeta
from segplug.preprocessing import ChannelOrder, Decoding, Pad, Resize, Scale
from segplug.text import printable_line, shortened
from segplug_onnx.makers.contract import Described, File, Maker, OtherTaskError, OutputKind, wrong_value
from segplug_onnx.makers.literals import literal

__all__ = ["maker"]

_TASK = "semantic"
_GREY = 114
"""The value that its predictor pads 8-bit images with."""
_MOST_STRIDE = 1024
_VERSION = 40
"""Characters of a version that are shown."""


def _made(file: File) -> bool:
    return file.properties.get("author") == "Ultralytics" and "task" in file.properties


def _name(file: File) -> str:
    version = printable_line(shortened(file.properties.get("version", ""), _VERSION))
    return f"Ultralytics {version}".strip()


def _read(file: File) -> Described:
    task = file.properties["task"]
    if task != _TASK:
        raise OtherTaskError(
            f"{file.path} was made by {_name(file)} for the task "
            f"'{printable_line(shortened(task, _VERSION))}', and segplug runs semantic segmentation",
            hint=f"models of the task '{_TASK}' give a label to each pixel",
        )
    classes = _classes(file)
    size = _size(file)
    channels = _whole(file, "channels", most=4) if "channels" in file.properties else 3
    if channels not in (1, 3):
        raise ArtifactError(
            f"{file.path} takes images of {channels} channels, for which {_name(file)} says no more"
        )
    fixed = file.inputs[0].size
    if fixed is not None and fixed != size:
        raise ArtifactError(
            f"{file.path} contradicts itself: imgsz in its metadata is {size[0]}x{size[1]} (height x width), "
            f"and its input is {file.inputs[0]}"
        )
    pad = Pad(size=size, value=(float(_GREY),) * channels, centred=True)
    if fixed is None:  # its predictor then pads no more than the network needs
        pad = Pad(divisor=_whole(file, "stride", most=_MOST_STRIDE), value=pad.value, centred=True)
    return Described(
        ModelMeta(
            name=file.path.stem,
            classes=classes,
            in_channels=channels,
            decoding=Decoding.for_channels(channels),
            preprocessing=(
                Resize((size[1], size[0]), fit="inside", rounding="half_even"),
                pad,
                *((ChannelOrder(),) if channels == 3 else ()),
                Scale(255.0),
            ),
            input_size=size,
            out_channels=len(classes),
            activation="sigmoid" if len(classes) == 1 else "softmax",
            threshold=0.5 if len(classes) == 1 else None,
            label_resize="nearest",
        ),
        _kind(file),
    )


def _kind(file: File) -> OutputKind:
    """Labels, or in files of some versions logits at the input's size."""
    if len(file.outputs) != 1:
        raise ArtifactError(f"{file.path} has {len(file.outputs)} outputs, and its task has one")
    return "labels" if file.outputs[0].holds_labels else "logits"


def _classes(file: File) -> tuple[str, ...]:
    names = _value(file, "names")
    if isinstance(names, list):  # older files
        names = dict(enumerate(names))
    labels, listed = (list(names), list(names.values())) if isinstance(names, Mapping) else ([], [None])
    if not all(isinstance(name, str) for name in listed):
        raise wrong_value(file, "names in its metadata", names, "a name for each label")
    if labels != list(range(len(labels))) or not 0 < len(labels) <= MOST_CHANNELS:
        raise wrong_value(file, "names in its metadata", names, "a name for each of the labels 0, 1, 2, ...")
    if len(set(listed)) == len(listed):
        return tuple(listed)
    return tuple(f"{name} ({label})" if listed.count(name) > 1 else name for label, name in enumerate(listed))


def _size(file: File) -> tuple[int, int]:
    """(height, width)."""
    value = _value(file, "imgsz")
    edges = [value, value] if isinstance(value, int) else value
    if not (isinstance(edges, (list, tuple)) and len(edges) == 2 and all(map(_is_edge, edges))):
        raise wrong_value(file, "imgsz in its metadata", value, "a height and a width")
    if reason := why_no_input((edges[0], edges[1])):
        raise ArtifactError(f"{file.path}: imgsz in its metadata: {reason}")
    return edges[0], edges[1]


def _whole(file: File, key: str, *, most: int) -> int:
    value = _value(file, key)
    if not _is_edge(value) or value > most:
        raise wrong_value(file, f"{key} in its metadata", value, f"a number from 1 to {most}")
    return int(value)


def _is_edge(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _value(file: File, key: str) -> Any:
    """A value of its metadata, which are Python literals."""
    text = file.properties.get(key)
    if text is None:
        raise ArtifactError(f"{file.path}: its metadata of Ultralytics has no {key}")
    try:
        return literal(text)
    except ValueError as error:
        raise wrong_value(file, f"{key} in its metadata", text, "a Python literal") from error


maker = Maker(_made, _name, "the metadata in it", _read)

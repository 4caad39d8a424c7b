"""mmdeploy: it writes deploy.json and pipeline.json beside the file, for its own programs (the SDK).

The steps are those that the SDK runs for a segmentor of mmsegmentation. A class has no name in these files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from segplug.errors import ArtifactError
from segplug.limits import MOST_CHANNELS
from segplug.model import ModelMeta
from segplug.preprocessing import Resize, Step, check_channels, steps_from_data
from segplug.regular_files import is_regular
from segplug.text import printable_line, shortened
from segplug.undescribed import numbered_classes
from segplug_onnx.makers.companions import read_companion
from segplug_onnx.makers.contract import Described, File, Maker, OtherTaskError

__all__ = ["maker"]

_DEPLOY, _PIPELINE = "deploy.json", "pipeline.json"
_TASK = "Segmentor"
_AFTER = "ResizeMask"
_NOTHING = ("LoadImageFromFile", "ImageToTensor", "DefaultFormatBundle", "Collect", "PackSegInputs", "Lift")
"""Steps of a pipeline that change no number."""
_VERSION = 40
_FILTERS = ("bilinear", "nearest", "bicubic", "area", "lanczos")
_CHANNELS = 3


def _made(file: File) -> bool:
    folder = file.path.parent
    if not (is_regular(folder / _DEPLOY) and is_regular(folder / _PIPELINE)):
        return False
    try:
        models = read_companion(folder / _DEPLOY).get("models")
    except ArtifactError:
        return True  # what is wrong with it is said when it is read
    return isinstance(models, list) and any(
        isinstance(model, Mapping) and model.get("net") == file.path.name for model in models
    )


def _name(file: File) -> str:
    try:
        version = read_companion(file.path.parent / _DEPLOY).get("version")
    except ArtifactError:
        version = None
    return (
        f"mmdeploy {printable_line(shortened(version, _VERSION))}" if isinstance(version, str) else "mmdeploy"
    )


def _read(file: File) -> Described:
    folder = file.path.parent
    task = read_companion(folder / _DEPLOY).get("task")
    if task != _TASK:
        shown = printable_line(shortened(repr(task), _VERSION))
        raise OtherTaskError(
            f"{folder / _DEPLOY} says that {file.path.name} is for the task {shown}, and segplug runs "
            f"semantic segmentation, which is '{_TASK}'"
        )
    pipeline = read_companion(folder / _PIPELINE).get("pipeline")
    tasks = pipeline.get("tasks") if isinstance(pipeline, Mapping) else None
    if not isinstance(tasks, list) or not all(isinstance(task, Mapping) for task in tasks):
        raise ArtifactError(f"{folder / _PIPELINE} has no list of tasks in 'pipeline'")
    classes = _class_count(folder, tasks)
    if len(file.outputs) != 1:
        raise ArtifactError(
            f"{file.path} has {len(file.outputs)} outputs, and a segmentor of mmdeploy has one"
        )
    steps = _steps(folder, tasks)
    is_labels = file.outputs[0].holds_labels
    resizes = [step for step in steps if isinstance(step, Resize)]
    size = resizes[0].scale if resizes and resizes[0].fit == "exact" else None
    return Described(
        ModelMeta(
            name=folder.absolute().name,
            classes=numbered_classes(classes),
            in_channels=_CHANNELS,
            preprocessing=steps,
            input_size=file.inputs[0].size or (None if size is None else (size[1], size[0])),
            out_channels=classes if is_labels else 0,
            label_resize="opencv",
        ),
        "labels" if is_labels else "logits",
        ("its files name no classes: --classes gives names",),
    )


def _class_count(folder: Any, tasks: Sequence[Mapping[str, Any]]) -> int:
    for task in tasks:
        if task.get("module") in ("Transform", "Net"):
            continue
        if task.get("component") != _AFTER:
            raise ArtifactError(
                f"{folder / _PIPELINE}: what follows the network is {_shown(task.get('component'))}, and "
                f"only {_AFTER} is followed exactly"
            )
        params = task.get("params")
        count = params.get("num_classes") if isinstance(params, Mapping) else None
        if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= MOST_CHANNELS:
            raise ArtifactError(f"{folder / _PIPELINE}: num_classes of {_AFTER} is {_shown(count)}, no count")
        return max(count, 2)  # one class is told from the rest
    raise ArtifactError(f"{folder / _PIPELINE} does not say what follows the network ({_AFTER})")


def _steps(folder: Any, tasks: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The steps of the task 'Preprocess'.

    Raises:
        ArtifactError: one of them cannot be followed exactly; it is named.
    """
    where = folder / _PIPELINE
    before = [task for task in tasks if task.get("module") == "Transform"]
    transforms = before[0].get("transforms") if len(before) == 1 else None
    if not isinstance(transforms, list) or not all(isinstance(step, Mapping) for step in transforms):
        raise ArtifactError(f"{where} has no list of transforms")
    found: list[dict[str, Any]] = []
    for transform in transforms:
        try:
            found += _translated(transform)
        except ValueError as error:
            kind = _shown(transform.get("type"))
            raise ArtifactError(f"{where}: the step {kind} cannot be followed exactly: {error}") from error
    steps = steps_from_data(found, "the steps in it", str(where))
    if reason := check_channels(steps, _CHANNELS):
        raise ArtifactError(f"{where}: {reason}")
    return steps


def _translated(transform: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps of one transform, as data that is still to be checked."""
    match transform.get("type"):
        case "LoadImageFromFile":
            if transform.get("to_float32") or transform.get("color_type", "color") != "color":
                raise ValueError("images are read as 8-bit colours")
        case "Resize":
            yield _resize(transform)
        case "Normalize":
            if transform.get("to_float") is False:
                raise ValueError("to_float is false")
            if transform.get("to_rgb", False):
                yield {"step": "channel_order"}
            mean, std = transform.get("mean"), transform.get("std")
            yield {"step": "normalize", "mean": mean, "std": std}
        case "Pad":
            yield _pad(transform)
        case kind if kind not in _NOTHING:
            raise ValueError("it is none of Resize, Normalize and Pad")


def _resize(transform: Mapping[str, Any]) -> dict[str, Any]:
    size = transform.get("size", transform.get("scale"))
    if not isinstance(size, list) or len(size) != 2:
        raise ValueError(f"its size is {_shown(size)}, no width and height")
    filter_name = transform.get("interpolation", "bilinear")
    if filter_name not in _FILTERS:
        raise ValueError(f"its interpolation is {_shown(filter_name)}")
    fit = "inside" if transform.get("keep_ratio", False) else "exact"
    return {"step": "resize", "scale": size, "fit": fit, "filter": filter_name}


def _pad(transform: Mapping[str, Any]) -> dict[str, Any]:
    others = {key for key, value in transform.items() if value} - {"type", "size_divisor", "pad_val"}
    if others or not transform.get("size_divisor"):
        raise ValueError(f"only size_divisor and pad_val are: {_shown(', '.join(sorted(map(str, others))))}")
    value = transform.get("pad_val", 0)
    value = value.get("img", 0) if isinstance(value, Mapping) else value
    return {
        "step": "pad",
        "divisor": transform["size_divisor"],
        "value": [value] * _CHANNELS,
        "cut": False,  # its ResizeMask stretches the whole output over the image
    }


def _shown(value: Any) -> str:
    return printable_line(shortened(repr(value), _VERSION))


maker = Maker(_made, _name, f"{_DEPLOY} and {_PIPELINE} beside it", _read)

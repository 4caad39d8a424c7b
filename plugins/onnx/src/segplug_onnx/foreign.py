"""Describe an ONNX file that segplug did not write, from the user's options and the file itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import ArtifactError, UsageError
from segplug.model import ModelMeta, Resize
from segplug.options import option, unknown
from segplug_onnx.devices import GpuSettings
from segplug_onnx.tensors import Tensors

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Options", "check_consistent", "describe"]

_FLOAT, _HALF = "tensor(float)", "tensor(float16)"


@dataclass(frozen=True)
class Options:
    """Options of ``infer onnxruntime``: the description of a file without segplug metadata, GPU settings."""

    output_name: str | None = option(
        None, help="Name of the segmentation output. Required if the file has several outputs."
    )
    output_kind: Literal["logits", "probabilities", "labels"] | None = option(
        None, help="What the output holds: logits, probabilities (after softmax or sigmoid), or labels."
    )
    mean: tuple[float, float, float] | None = option(
        None, help="Mean of each channel, for pixels of 0 to 255, in the network's channel order."
    )
    std: tuple[float, float, float] | None = option(
        None, help="Standard deviation of each channel, for pixels of 0 to 255."
    )
    channel_order: Literal["rgb", "bgr"] | None = option(
        None, help="Channel order of the input; default rgb."
    )
    resize: tuple[int, int] | None = option(
        None,
        help="Resize images to this size first. Default: the network's fixed size, else the image's own.",
        metavar="HEIGHT WIDTH",
        minimum=1,
    )
    classes: tuple[str, ...] | None = option(None, help="Class names, in the order of the labels.")
    threshold: float | None = option(
        None,
        help="With one output channel: the probability above which a pixel is foreground; default 0.5.",
        minimum=0.0,
        maximum=1.0,
    )
    engine_cache: Path | None = option(
        None, help="With --device tensorrt: folder that keeps the engines for the next run.", metavar="FOLDER"
    )
    fp16: bool = option(False, help="With --device tensorrt: let TensorRT compute in half precision.")
    workspace_size: float | None = option(
        None,
        help="Limit of GPU memory in GiB: of TensorRT's scratch memory, or with --device cuda of all memory.",
        minimum=0.001,
    )

    @property
    def gpu(self) -> GpuSettings:
        """The settings for a GPU."""
        return GpuSettings(self.engine_cache, self.fp16, self.workspace_size)


_GPU_OPTIONS = ("engine_cache", "fp16", "workspace_size")


def _given(options: Options) -> dict[str, Any]:
    """The options that describe the file and that the user gave."""
    names = [field.name for field in fields(options) if field.name not in _GPU_OPTIONS]
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def check_consistent(path: Path, meta: ModelMeta, output_kind: str, options: Options) -> None:
    """Refuse options that contradict the file's own metadata.

    Raises:
        UsageError: an option does; the error names it and both values.
    """
    resize = meta.resize.scale if meta.resize is not None and not meta.resize.keep_ratio else None
    own: dict[str, Any] = {
        "output_name": "output",
        "output_kind": output_kind,
        "mean": meta.mean,
        "std": meta.std,
        "channel_order": meta.channel_order,
        "resize": None if resize is None else (resize[1], resize[0]),
        "classes": meta.classes,
        "threshold": meta.threshold,
    }
    for name, value in _given(options).items():
        if value != own[name]:
            flag = "--" + name.replace("_", "-")
            raise UsageError(
                f"{flag} is {_text(value)}, but the metadata in {path} has {_text(own[name])}",
                hint="leave out the option: a file that segplug exported holds its own metadata",
            )


def _text(value: Any) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, tuple) else str(value)


def describe(
    path: Path, session: onnxruntime.InferenceSession, options: Options
) -> tuple[Tensors, ModelMeta]:
    """The tensors and the metadata of a file, from its own inputs and outputs and from the options.

    Raises:
        UsageError: options are missing (the error names them all), or contradict the file.
        ArtifactError: the file does not have exactly one input, a batch of images.
    """
    _check_values(options)
    image = _image_input(path, session)
    needed = [name for name in ("output_kind", "mean", "std") if getattr(options, name) is None]
    output = _chosen_output(session, options)
    if output is None:
        needed.insert(0, "output_name")
    channels_last = image.shape[1] != 3 and image.shape[3] == 3
    channels = None
    if output is not None and options.output_kind != "labels":
        channels = _channels(output.shape, channels_last=channels_last)
        if channels is None and options.classes is None:
            needed.append("classes")
    elif options.output_kind == "labels" and options.classes is None:
        needed.append("classes")
    if needed or output is None or options.output_kind is None:
        flags = ", ".join("--" + name.replace("_", "-") for name in needed)
        raise UsageError(
            f"{path} has no segplug metadata: describe its input and output with {flags}",
            hint=_signature(session),
        )
    tensors = Tensors(
        input=image.name,
        output=output.name,
        kind=options.output_kind,
        channels_last=channels_last,
        half=image.type == _HALF,
    )
    _, height, width = tensors.axes(image.shape)
    size = (height.minimum, width.minimum) if height.is_fixed and width.is_fixed else None
    return tensors, _meta(path, options, size=size, channels=channels)


def _check_values(options: Options) -> None:
    for flag, values in (("--mean", options.mean), ("--std", options.std)):
        if not all(map(math.isfinite, values or ())):
            raise UsageError(f"{flag} takes finite numbers, not {_text(values)}")
    if min(options.std or (1,)) <= 0:
        raise UsageError("--std must be above 0: pixels are divided by it")
    if min(options.resize or (1,)) < 1:
        raise UsageError(f"--resize takes two sizes in pixels, not {_text(options.resize)}")


def _image_input(path: Path, session: onnxruntime.InferenceSession) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ArtifactError(f"{path} takes {len(inputs)} inputs, not one image: {_signature(session)}")
    image = inputs[0]
    if image.type not in (_FLOAT, _HALF) or len(image.shape) != 4:
        raise ArtifactError(f"{path} does not take a batch of float images: {_signature(session)}")
    return image


def _chosen_output(session: onnxruntime.InferenceSession, options: Options) -> Any:
    """The output that holds the segmentation; ``None`` if the user must choose one."""
    outputs = {node.name: node for node in session.get_outputs()}
    if options.output_name is None:
        return next(iter(outputs.values())) if len(outputs) == 1 else None
    if options.output_name not in outputs:
        raise unknown("output", options.output_name, outputs, owner="infer onnxruntime")
    return outputs[options.output_name]


def _channels(shape: Sequence[Any], *, channels_last: bool) -> int | None:
    if len(shape) == 3:
        return 1
    size = shape[-1 if channels_last else 1] if len(shape) == 4 else None
    return size if isinstance(size, int) else None


def _meta(path: Path, options: Options, *, size: tuple[int, int] | None, channels: int | None) -> ModelMeta:
    if size is not None and options.resize not in (None, size):
        raise UsageError(f"--resize must be {size[0]} {size[1]}: the network takes no other size")
    if channels != 1 and options.threshold is not None:
        raise UsageError("--threshold applies to an output of one channel only")
    classes = options.classes or ()
    labels = 2 if channels == 1 else channels or len(classes)
    if classes and len(classes) != labels:
        raise UsageError(f"--classes names {len(classes)} classes, but {path} has {labels}")
    target = size or options.resize
    return ModelMeta(
        name=path.stem,
        classes=classes or tuple(str(index) for index in range(labels)),
        mean=options.mean or (0.0, 0.0, 0.0),
        std=options.std or (1.0, 1.0, 1.0),
        channel_order=options.channel_order or "rgb",
        input_size=target,
        resize=None if target is None else Resize(scale=(target[1], target[0]), keep_ratio=False),
        out_channels=channels or labels,
        activation="sigmoid" if channels == 1 else "softmax",
        threshold=(0.5 if options.threshold is None else options.threshold) if channels == 1 else None,
    )


def _signature(session: onnxruntime.InferenceSession) -> str:
    """The inputs and outputs of a model in one line."""

    def text(nodes: Sequence[Any]) -> str:
        return ", ".join(f"{node.name} {node.type} {list(node.shape)}" for node in nodes)

    return f"its inputs: {text(session.get_inputs())}; its outputs: {text(session.get_outputs())}"

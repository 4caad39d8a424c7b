"""Describe an ONNX file that segplug did not write, from the user's options and the file itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segplug.errors import ArtifactError, UsageError
from segplug.model import ModelMeta
from segplug.options import option, unknown
from segplug.preprocessing import ChannelOrder, Normalize, Resize, find_steps
from segplug.text import counted
from segplug.undescribed import (
    CLASSES_HELP,
    DECODING_HELP,
    DECODINGS,
    ChannelOrderName,
    DecodingName,
    both_classes,
    class_names,
    image_steps,
    numbered_classes,
)
from segplug_onnx.devices import GpuSettings
from segplug_onnx.shapes import Layout, fitting_layouts, layouts_that_run
from segplug_onnx.tensors import Tensors

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Options", "check_consistent", "describe"]

_FLOAT, _HALF = "tensor(float)", "tensor(float16)"
_SCORES = (_FLOAT, _HALF, "tensor(double)", "tensor(bfloat16)")

_ELSEWHERE = (
    "commands without these flags: --backend-options output_kind=logits mean=128 std=60, or in analyze "
    "benchmark onnxruntime.output_kind=logits and so on"
)
"""How a server and a benchmark take the description."""


@dataclass(frozen=True)
class Options:
    """Options of ``infer onnxruntime``: the description of a file without segplug metadata, GPU settings."""

    output_name: str | None = option(
        None, help="Name of the segmentation output. Required if the file has several outputs."
    )
    output_kind: Literal["logits", "probabilities", "labels"] | None = option(
        None, help="What the output holds: logits, probabilities (after softmax or sigmoid), or labels."
    )
    in_channels: int | None = option(
        None, help="Channels of the input. Required if its shape does not show them.", minimum=1
    )
    layout: Literal["nchw", "nhwc"] | None = option(
        None,
        help="The order of the input's axes. Required if neither its shape nor a run on a black image shows "
        "it.",
    )
    mean: tuple[float, ...] | None = option(
        None,
        help="Mean of each channel, or one for all, in the units of the images (8-bit pixels: 0 to 255).",
    )
    std: tuple[float, ...] | None = option(
        None, help="Standard deviation of each channel, or one for all, in the same units."
    )
    channel_order: ChannelOrderName | None = option(
        None, help="Order of an input of three colour channels; default rgb."
    )
    decoding: DecodingName | None = option(None, help=DECODING_HELP)
    resize: tuple[int, int] | None = option(
        None,
        help="Resize images to this size first. Default: the network's fixed size, else the image's own.",
        metavar="HEIGHT WIDTH",
        minimum=1,
    )
    classes: tuple[str, ...] | None = option(None, help=CLASSES_HELP)
    multilabel: bool = option(
        False, help="Each class has a sigmoid of its own: a pixel has any number of classes, or none."
    )
    threshold: float | None = option(
        None,
        help="With one output channel, or with --multilabel: a class is where its probability is above this; "
        "default 0.5.",
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
    return {name: value for name, value in values.items() if value is not None and value is not False}


def check_consistent(path: Path, meta: ModelMeta, options: Options, *, labels: bool) -> None:
    """Refuse options that contradict the file's own metadata.

    Args:
        path: The file, for messages.
        meta: Its metadata.
        options: The user's.
        labels: Whether its output is labels.

    Raises:
        UsageError: an option does; the error names it and both values.
    """
    own = _own(meta, labels=labels)
    for name, value in _given(options).items():
        if name in ("mean", "std") and len(value) == 1:
            value = value * meta.in_channels
        elif name == "classes":
            value = class_names(value)
        if value != own[name]:
            flag = "--" + name.replace("_", "-")
            raise UsageError(
                f"{flag} is {_text(value)}, but the metadata in {path} has {_text(own[name])}",
                hint="leave out the option: a file that segplug exported holds its own metadata",
            )


def _own(meta: ModelMeta, *, labels: bool) -> dict[str, Any]:
    """The values of the options that say what the metadata says; ``None``: no value does."""
    norms = find_steps(meta.preprocessing, Normalize)
    norm = norms[0] if len(norms) == 1 else None
    resizes = find_steps(meta.preprocessing, Resize)
    scale = resizes[0].scale if len(resizes) == 1 and resizes[0].fit == "exact" else None
    order = None
    if meta.in_channels == 3 and meta.decoding.gives_bgr:
        order = "rgb" if ChannelOrder() in meta.preprocessing else "bgr"
    return {
        "output_name": "output",
        "output_kind": "labels" if labels else meta.scores,
        "in_channels": meta.in_channels,
        "layout": "nchw",
        "decoding": next((name for name, value in DECODINGS.items() if value == meta.decoding), None),
        "mean": None if norm is None else norm.mean,
        "std": None if norm is None else norm.std,
        "channel_order": order,
        "resize": None if scale is None else (scale[1], scale[0]),
        "classes": meta.classes,
        "multilabel": meta.multilabel,
        "threshold": meta.threshold,
    }


def _text(value: Any) -> str:
    if value is None:
        return "no such value"
    return " ".join(str(item) for item in value) if isinstance(value, tuple) else str(value)


def describe(
    path: Path,
    session: onnxruntime.InferenceSession,
    options: Options,
    on_cpu: Callable[[], onnxruntime.InferenceSession],
) -> tuple[Tensors, ModelMeta]:
    """The tensors and the metadata of a file, from its own inputs and outputs and from the options.

    Whether its scores have a stride is not known yet: the metadata says 1.

    Args:
        path: The file.
        session: The file in ONNX Runtime.
        options: The user's.
        on_cpu: Opens it on the CPU, for runs that show the layout where the shape does not.

    Raises:
        UsageError: options are missing (the error names them all), or contradict the file.
        ArtifactError: the file does not have exactly one input, a batch of images.
    """
    if min(options.resize or (1,)) < 1:
        raise UsageError(f"--resize takes two sizes in pixels, not {_text(options.resize)}")
    image = _image_input(path, session)
    needed = [name for name in ("output_kind", "mean", "std") if getattr(options, name) is None]
    output = _chosen_output(session, options)
    if output is None:
        needed.insert(0, "output_name")
    layouts = _layouts(path, image, options)
    if not layouts:
        needed.append("in_channels")
    if len(layouts) > 1 and output is not None and not needed:
        tensors = Tensors(image.name, output.name, options.output_kind == "labels", half=image.type == _HALF)
        layouts = _choose(path, layouts, layouts_that_run(layouts, tensors, image.shape, on_cpu()))
    layout = layouts[0] if len(layouts) == 1 else None
    if output is not None and options.output_kind not in (None, "labels") and output.type not in _SCORES:
        raise UsageError(
            f"--output-kind is {options.output_kind}, but the output {output.name} of {path} is "
            f"{output.type}: scores are floats",
            hint="--output-kind labels",
        )
    if output is not None and options.output_kind == "labels":
        _refuse_scores(path, output, layout)
    labels, channels = options.output_kind == "labels", None
    if output is not None and not labels:
        channels = _channels(output.shape, channels_last=layout is not None and layout.last)
    if channels is None and options.classes is None and (labels or output is not None):
        needed.append("classes")
    if needed or output is None or layout is None:  # the layout is known if nothing is needed
        flags = ", ".join("--" + name.replace("_", "-") for name in needed)
        raise UsageError(
            f"{path} has no segplug metadata: describe its input and output with {flags}",
            hint=f"{_signature(session)}; {_ELSEWHERE}",
        )
    tensors = Tensors(
        input=image.name,
        output=output.name,
        labels=labels,
        channels_last=layout.last,
        half=image.type == _HALF,
    )
    _, height, width = tensors.axes(image.shape)
    size = (height.minimum, width.minimum) if height.is_fixed and width.is_fixed else None
    return tensors, _meta(path, options, layout.channels, size=size, channels=channels)


def _image_input(path: Path, session: onnxruntime.InferenceSession) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ArtifactError(f"{path} takes {len(inputs)} inputs, not one image: {_signature(session)}")
    image = inputs[0]
    if image.type not in (_FLOAT, _HALF) or len(image.shape) != 4:
        raise ArtifactError(f"{path} does not take a batch of float images: {_signature(session)}")
    return image


def _layouts(path: Path, image: Any, options: Options) -> list[Layout]:
    """The layouts that the input can have; none if the user must say how many channels it has."""
    last = None if options.layout is None else options.layout == "nhwc"
    if options.in_channels is not None:
        layouts = fitting_layouts(image.shape, options.in_channels, last)
        if not layouts:
            given = f"--in-channels is {options.in_channels}"
            if options.layout is not None:
                given += f" and --layout {options.layout}"
            raise UsageError(f"{given}, but the input {image.name} of {path} has shape {list(image.shape)}")
        return layouts
    shown = fitting_layouts(image.shape, None, last)
    values = max(len(options.mean or ()), len(options.std or ()))
    # One value counts for all channels, and so does not say how many there are.
    return shown or (fitting_layouts(image.shape, values, last) if values > 1 else [])


def _choose(path: Path, layouts: list[Layout], running: list[Layout]) -> list[Layout]:
    """The layout in which the file runs; raises if it does in both or in none."""
    if len(running) != 1:
        how = "both" if running else "neither"
        raise UsageError(
            f"the shape of its input does not show whether {path} takes NCHW or NHWC, and {how} of them "
            f"{'run' if running else 'runs'} on a black image",
            hint="--layout nchw or --layout nhwc",
        )
    return running


def _chosen_output(session: onnxruntime.InferenceSession, options: Options) -> Any:
    """The output that holds the segmentation; ``None`` if the user must choose one."""
    outputs = {node.name: node for node in session.get_outputs()}
    if options.output_name is None:
        return next(iter(outputs.values())) if len(outputs) == 1 else None
    if options.output_name not in outputs:
        raise unknown("output", options.output_name, outputs, owner="infer onnxruntime")
    return outputs[options.output_name]


def _refuse_scores(path: Path, output: Any, layout: Layout | None) -> None:
    """Refuse an output that is described as labels and has a float for each of several classes."""
    if output.type not in _SCORES or len(output.shape) != 4 or 1 in (output.shape[1], output.shape[3]):
        return
    channels = _channels(output.shape, channels_last=layout is not None and layout.last)
    if channels is not None:
        raise UsageError(
            f"--output-kind is labels, but the output {output.name} of {path} has "
            f"{counted(channels, 'channel')} of floats: these are scores",
            hint="--output-kind logits, or probabilities after a softmax or sigmoid",
        )


def _channels(shape: Sequence[Any], *, channels_last: bool) -> int | None:
    """The channels of an output of scores; ``None``: its shape does not show them."""
    if len(shape) == 3:
        return 1
    size = shape[-1 if channels_last else 1] if len(shape) == 4 else None
    return size if isinstance(size, int) else None


def _meta(
    path: Path, options: Options, in_channels: int, *, size: tuple[int, int] | None, channels: int | None
) -> ModelMeta:
    if size is not None and options.resize not in (None, size):
        raise UsageError(f"--resize must be {size[0]} {size[1]}: the network takes no other size")
    if options.multilabel and channels in (None, 1):
        has = "one channel" if channels else "labels"
        raise UsageError(f"--multilabel is for scores of several classes, and the output of {path} has {has}")
    sigmoid = channels == 1 or options.multilabel
    if not sigmoid and options.threshold is not None:
        raise UsageError(
            "--threshold applies to an output of one channel only",
            hint="if each class has a sigmoid of its own, add --multilabel",
        )
    classes = class_names(options.classes or ())
    labels = 2 if channels == 1 else channels or len(classes)
    if len(classes) not in (0, labels) and not (channels == 1 and len(classes) == 1):
        raise UsageError(
            f"--classes names {counted(len(classes), 'class', 'classes')}, but {path} has {labels}"
        )
    if channels == 1:
        classes = both_classes(classes)
    target = size or options.resize
    decoding, preprocessing = image_steps(
        in_channels,
        mean=options.mean,
        std=options.std,
        channel_order=options.channel_order,
        decoding=options.decoding,
        resize=None if target is None else Resize(scale=(target[1], target[0])),
    )
    return ModelMeta(
        name=path.stem,
        classes=classes or numbered_classes(labels),
        in_channels=in_channels,
        decoding=decoding,
        preprocessing=preprocessing,
        input_size=target,
        out_channels=channels or labels,
        scores="probabilities" if options.output_kind == "probabilities" else "logits",
        activation="sigmoid" if sigmoid or labels == 1 else "softmax",
        threshold=(0.5 if options.threshold is None else options.threshold) if sigmoid else None,
    )


def _signature(session: onnxruntime.InferenceSession) -> str:
    """The inputs and outputs of a model in one line."""

    def text(nodes: Sequence[Any]) -> str:
        return ", ".join(f"{node.name} {node.type} {list(node.shape)}" for node in nodes)

    return f"its inputs: {text(session.get_inputs())}; its outputs: {text(session.get_outputs())}"

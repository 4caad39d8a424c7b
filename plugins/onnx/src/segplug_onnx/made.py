"""Describe an ONNX file of another tool by that tool's own metadata, where a user's options do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from segplug.errors import ArtifactError, SegplugError, UsageError
from segplug.model import ModelMeta
from segplug.text import counted
from segplug.undescribed import both_classes, class_names
from segplug_onnx import foreign
from segplug_onnx.makers import Described, File, Folder, OutputKind, Tensor, find_maker, read_maker
from segplug_onnx.metadata import read_properties

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import onnxruntime

    from segplug.requests import InferRequest
    from segplug_onnx.tensors import Tensors

__all__ = ["describe"]

_PREPARED = ("mean", "std", "channel_order", "decoding", "resize")
"""The options that say how images are prepared: one of them replaces all that a tool says of it."""
_WHOLE = ("output_kind", "mean", "std")
"""The options with which a file needs no other description."""


@dataclass(frozen=True)
class _Found:
    """What a tool says of a file."""

    name: str
    where: str
    meta: ModelMeta
    kind: OutputKind
    output: str | None = None
    assumed: tuple[str, ...] = ()


def describe(
    request: InferRequest[foreign.Options],
    session: onnxruntime.InferenceSession,
    on_cpu: Callable[[], onnxruntime.InferenceSession],
) -> tuple[Tensors, ModelMeta]:
    """The tensors and the metadata of a file that segplug did not write; see :func:`foreign.describe`.

    A user's options count before what the tool that made the file says. A note tells what it says.

    Raises:
        UsageError: the description is not complete, or contradicts the file; the error names the options.
        ArtifactError: what the tool says is damaged, or contradicts the file.
    """
    path, options = request.file, request.options
    file = File(path, _tensors(session.get_inputs()), _tensors(session.get_outputs()), read_properties(path))
    found = _found(request, file)
    if found is None:
        return foreign.describe(path, session, options, on_cpu)
    own = _own_steps(options)
    tensors, meta = foreign.describe(path, session, _filled(file, found, options), on_cpu)
    _tell(request, found, own_steps=own)
    known = found.meta
    if options.classes is None:
        binary = 1 in (known.out_channels, meta.out_channels)
        names = both_classes(known.classes) if binary else known.classes
        meta = meta.replace(classes=names, palette=known.palette)
        if tensors.labels:
            meta = meta.replace(out_channels=known.out_channels, activation=known.activation)
    if meta.out_channels == 1 and options.threshold is None and known.threshold is not None:
        meta = meta.replace(threshold=known.threshold)
    if own:
        return tensors, meta
    return tensors, meta.replace(
        name=known.name,
        decoding=known.decoding,
        preprocessing=known.preprocessing,
        input_size=known.input_size or meta.input_size,
        inference=known.inference,
        label_resize=known.label_resize,
        output_antialias=known.output_antialias,
        reduce_zero_label=known.reduce_zero_label,
        provenance=known.provenance,
    )


def _found(request: InferRequest[foreign.Options], file: File) -> _Found | None:
    """What the tool that made the file says; ``None``: nothing is known of it.

    A user who describes the file anyway is only told what is wrong with the tool's metadata.
    """
    maker = find_maker(file)
    if maker is None:
        return None
    try:
        said = read_maker(maker, file)
        found = _of_folder(request, said) if isinstance(said, Folder) else said
        output = said.output if isinstance(said, Folder) else None
        result = _Found(maker.name(file), maker.where, found.meta, found.kind, output, found.assumed)
        _refuse_contradictions(file, result, request.options)
    except SegplugError as error:
        if any(getattr(request.options, name) is None for name in _WHOLE):
            raise
        request.reporter.warn(f"{maker.where} is not used: {error.message}")
        return None
    return result


def _of_folder(request: InferRequest[foreign.Options], folder: Folder) -> Described:
    """What the source of a model's folder says.

    Raises:
        UsageError: no installed source reads it.
        SegplugError: it cannot be followed.
    """
    flags = "describe the file with --output-kind, --mean and --std"
    try:
        meta = request.session.describe_model(folder.path)
    except UsageError as error:
        raise UsageError(
            f"{request.file} lies beside the files of a model of transformers, and nothing installed reads "
            f"them: {error.message}",
            hint=f"pip install segplug-transformers, or {flags}",
        ) from error
    except SegplugError as error:
        error.add_hint(f"or {flags}")
        raise
    if meta is None:
        raise UsageError(f"nothing installed says how {folder.path} prepares images", hint=flags)
    return Described(meta, folder.kind)


def _refuse_contradictions(file: File, found: _Found, options: foreign.Options) -> None:
    """Refuse what the tool says if the graph shows something else.

    Raises:
        ArtifactError: it does; the message has both values.
        UsageError: the user gives another number of names than there are labels.
    """
    shape = file.inputs[0].shape if len(file.inputs) == 1 else None
    channels = found.meta.in_channels
    if shape is not None and len(shape) == 4 and shape[1] not in (None, channels):
        raise ArtifactError(
            f"{file.path} contradicts itself: {found.where} says images of {counted(channels, 'channel')}, "
            f"and its input is {file.inputs[0]}"
        )
    names = len(found.meta.classes)
    given = options.classes and len(class_names(options.classes))
    if found.kind == "labels" and given and given != names:
        raise UsageError(
            f"--classes names {counted(given, 'class', 'classes')}, but {found.where} says {names}: "
            f"{file.path} gives no other labels"
        )
    output = next((tensor for tensor in file.outputs if found.output in (None, tensor.name)), None)
    if output is None or output.shape is None or len(output.shape) != 4 or output.holds_labels:
        return
    scores = output.shape[1]
    # One channel tells two classes apart.
    fitting = (None, names, found.meta.out_channels, *((1,) if names == 2 else ()))
    if options.classes is None and scores not in fitting and names:
        raise ArtifactError(
            f"{file.path} contradicts itself: {found.where} says {counted(names, 'class', 'classes')}, and "
            f"its output is {output}",
            hint="--classes gives the names",
        )


def _filled(file: File, found: _Found, options: foreign.Options) -> foreign.Options:
    """The user's options, and what the tool says in place of those that are not given."""
    filled = replace(
        options,
        output_name=options.output_name or found.output,
        output_kind=options.output_kind or found.kind,
        in_channels=options.in_channels or found.meta.in_channels,
        layout=options.layout or "nchw",
        classes=options.classes or (str(len(found.meta.classes)),),
    )
    # The steps that these make are replaced by the tool's own.
    return filled if _own_steps(options) else replace(filled, mean=(0.0,), std=(1.0,))


def _own_steps(options: foreign.Options) -> tuple[str, ...]:
    """The flags by which the user says how images are prepared."""
    given = (name for name in _PREPARED if getattr(options, name) is not None)
    return tuple("--" + name.replace("_", "-") for name in given)


def _tell(request: InferRequest[foreign.Options], found: _Found, *, own_steps: Sequence[str]) -> None:
    what = ["classes"] if request.options.classes is None else []
    what += [] if own_steps else ["preprocessing"]
    if not what:
        return
    size = "" if own_steps or found.meta.input_size is None else _of_size(found.meta.input_size)
    parts = [f"made by {found.name}: {' and '.join(what)}{size} are those of {found.where}"]
    parts += [f"{' '.join(own_steps)} replace its preprocessing"] if own_steps else []
    parts += list(found.assumed) if request.options.classes is None else []
    request.reporter.note(f"{request.file.name} was {'; '.join(parts)}")


def _of_size(size: tuple[int, int]) -> str:
    return f" for {size[0]}x{size[1]} (height x width)"


def _tensors(nodes: Sequence[Any]) -> tuple[Tensor, ...]:
    """Inputs or outputs of ONNX Runtime."""
    return tuple(
        Tensor(
            node.name,
            _TYPES.get(node.type, node.type),
            tuple(size if isinstance(size, int) else None for size in node.shape),
        )
        for node in nodes
    )


_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64"} | {
    f"tensor({name})": name for name in ("float16", "bfloat16", "uint8", "int8", "int32", "int64", "uint16")
}
"""numpy's names of the types of ONNX Runtime."""

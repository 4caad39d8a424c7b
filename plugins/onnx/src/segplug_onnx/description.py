"""Describe an ONNX file, of segplug or of another tool, without onnx and without loading its weights."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from segplug.description import FileDescription, NamedAxis, TensorDescription
from segplug.engine import Axis
from segplug.errors import ArtifactError
from segplug.regular_files import MOST_TEXT, open_regular
from segplug_onnx.makers import File, Folder, OtherTaskError, Tensor, find_maker, read_maker
from segplug_onnx.metadata import MODEL_GRAPH, read_properties
from segplug_onnx.wire import Field, MalformedError, fields

__all__ = ["describe"]

# Field numbers of onnx.proto.
_IR_VERSION, _PRODUCER, _PRODUCER_VERSION, _OPSET = 1, 2, 3, 8
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_NODE, _NAME, _INITIALIZER, _INPUT, _OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE = 1, 2, 4
_INFO_NAME, _INFO_TYPE, _TENSOR_TYPE, _ELEMENT, _SHAPE, _DIM, _DIM_VALUE, _DIM_NAME = 1, 2, 1, 1, 2, 1, 1, 2
_TENSOR_DIMS, _TENSOR_NAME = 1, 8

_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
"""The names of TensorProto.DataType that inputs and outputs have."""

_NUMBER_BITS = 63
_MOVES, _MOST_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Cast"), 8
"""The operators that only move values, and how many of them are looked through."""
_LISTED = 12
"""How many kinds of operators are listed, the commonest first."""


@dataclass
class _Graph:
    inputs: list[TensorDescription] = field(default_factory=list)
    outputs: list[TensorDescription] = field(default_factory=list)
    operators: Counter[str] = field(default_factory=Counter)
    makers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The operator that makes each value, and its first input."""
    weights: dict[str, int] = field(default_factory=dict)
    """The number of values of each tensor."""


def describe(path: Path, *, described: bool) -> FileDescription:
    """Read the graph's inputs, outputs, operators and sizes of weights.

    Args:
        path: The file.
        described: Whether it holds segplug's metadata.

    Raises:
        ArtifactError: it is not an ONNX file, or was cut.
    """
    numbers: dict[int, int] = {}
    texts: dict[int, str] = {}
    opsets: dict[str, int] = {}
    graph = _Graph()
    try:
        with open_regular(path) as file:
            for part in fields(file, 0, path.stat().st_size):
                if part.number == _IR_VERSION:
                    numbers[_IR_VERSION] = _number(file, part)
                elif part.number in (_PRODUCER, _PRODUCER_VERSION):
                    texts[part.number] = _text(file, part)
                elif part.number == _OPSET:
                    opsets |= [_opset(file, part)]
                elif part.number == MODEL_GRAPH:
                    _read_graph(file, part, graph)
    except MalformedError as error:
        raise ArtifactError(f"{path} is not an ONNX file, or was cut: {error}") from error
    producer = " ".join(texts.get(number, "") for number in (_PRODUCER, _PRODUCER_VERSION)).strip()
    inputs = tuple(tensor for tensor in graph.inputs if tensor.name not in graph.weights)
    outputs = tuple(graph.outputs)
    found = FileDescription(
        what="ONNX file",
        inputs=inputs,
        outputs=outputs,
        details=_details(graph, producer, opsets, numbers.get(_IR_VERSION)),
    )
    if described:
        return found
    found = replace(found, next=_how_to_run(path, inputs, outputs, _operator(graph, outputs)))
    return _with_maker(path, found)


def _with_maker(path: Path, found: FileDescription) -> FileDescription:
    """The description with what the tool that made the file says of it, or why that cannot be followed."""
    file = File(path, _plain(found.inputs), _plain(found.outputs), read_properties(path))
    maker = find_maker(file)
    if maker is None:
        return found
    found = replace(
        found, details={"made by": maker.name(file), "described by": maker.where, **found.details}
    )
    try:
        said = read_maker(maker, file)
    except OtherTaskError as error:
        return replace(found, notes=(str(error),), next=())
    except ArtifactError as error:
        return replace(found, notes=(str(error),))
    found = replace(found, details={"output holds": said.kind, **found.details})
    if isinstance(said, Folder):
        return replace(found, folder=said.path)
    channels = said.meta.out_channels or len(said.meta.classes)
    return replace(found, meta=said.meta.replace(out_channels=channels), notes=said.assumed)


def _plain(tensors: tuple[TensorDescription, ...]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            tensor.name,
            tensor.type,
            None
            if tensor.axes is None
            else tuple(axis.sizes.minimum if axis.sizes.is_fixed else None for axis in tensor.axes),
        )
        for tensor in tensors
    )


def _details(graph: _Graph, producer: str, opsets: dict[str, int], ir_version: int | None) -> dict[str, Any]:
    others = {domain: version for domain, version in opsets.items() if domain}
    listed = dict(graph.operators.most_common(_LISTED))
    if len(graph.operators) > _LISTED:
        listed["others"] = graph.operators.total() - sum(listed.values())
    found = {
        "producer": producer,
        "opset": opsets.get(""),
        "operators of other sets": others,
        "IR version": ir_version,
        "values in weights": sum(graph.weights.values()),
        "operators": listed,
    }
    return {what: value for what, value in found.items() if value not in ("", None, {})}


def _how_to_run(
    path: Path,
    inputs: tuple[TensorDescription, ...],
    outputs: tuple[TensorDescription, ...],
    last: str,
) -> tuple[str, ...]:
    """The command that runs a file which does not describe itself, with what must be said of it.

    ``last`` is the operator that computes the first output.
    """
    if len(inputs) != 1 or not outputs:
        return ()
    named = f" --output-name {shlex.quote(outputs[0].name)}" if len(outputs) > 1 else ""
    kind = "probabilities" if last in ("Softmax", "Sigmoid") else "logits"
    if "int" in outputs[0].type:
        kind = "labels --classes CLASSES.txt"
    model = shlex.quote(str(path))
    return (f"segplug predict {model} photo.jpg{named} --output-kind {kind} --mean MEAN --std STD",)


def _read_graph(file: BinaryIO, graph: Field, found: _Graph) -> None:
    for part in fields(file, graph.content, graph.end):
        if part.number == _NODE:
            kind, first, names = _node(file, part)
            found.operators[kind] += 1
            found.makers |= dict.fromkeys(names, (kind, first))
        elif part.number == _INITIALIZER:
            name, values = _weights(file, part)
            found.weights[name] = values
        elif part.number == _INPUT:
            found.inputs.append(_tensor(file, part))
        elif part.number == _OUTPUT:
            found.outputs.append(_tensor(file, part))


def _operator(graph: _Graph, outputs: tuple[TensorDescription, ...]) -> str:
    """The operator that computes the first output, those that only move values left out."""
    name = outputs[0].name if outputs else ""
    for _ in range(_MOST_MOVES):
        kind, first = graph.makers.get(name, ("", ""))
        if kind not in _MOVES:
            return kind
        name = first
    return ""


def _node(file: BinaryIO, part: Field) -> tuple[str, str, list[str]]:
    """The operator of a node, its first input, and the names of its outputs."""
    kind, first, names = "?", None, []
    for item in _parts(file, part):
        if item.number == _OP_TYPE:
            kind = _text(file, item)
        elif item.number == _NODE_INPUT and first is None:
            first = _text(file, item)
        elif item.number == _NODE_OUTPUT:
            names.append(_text(file, item))
    return kind, first or "", names


def _opset(file: BinaryIO, part: Field) -> tuple[str, int]:
    domain, version = "", 0
    for item in _parts(file, part):
        if item.number == _OPSET_DOMAIN:
            domain = _text(file, item)
        elif item.number == _OPSET_VERSION:
            version = _number(file, item)
    return ("" if domain == "ai.onnx" else domain), version


def _weights(file: BinaryIO, part: Field) -> tuple[str, int]:
    """The name of a tensor and its number of values."""
    name, dims = "", []
    for item in _parts(file, part):
        if item.number == _TENSOR_NAME:
            name = _text(file, item)
        elif item.number == _TENSOR_DIMS:
            dims += _numbers(file, item)
    return name, prod(dims)


def _tensor(file: BinaryIO, info: Field) -> TensorDescription:
    name, kind, axes = "", "other", None
    for item in _parts(file, info):
        if item.number == _INFO_NAME:
            name = _text(file, item)
        elif item.number == _INFO_TYPE:
            for tensor in (field for field in _parts(file, item) if field.number == _TENSOR_TYPE):
                for detail in _parts(file, tensor):
                    if detail.number == _ELEMENT:
                        kind = _TYPES.get(_number(file, detail), "other")
                    elif detail.number == _SHAPE:
                        axes = tuple(_axis(file, dim) for dim in _parts(file, detail) if dim.number == _DIM)
    return TensorDescription(name, kind, axes)


def _axis(file: BinaryIO, dim: Field) -> NamedAxis:
    for item in _parts(file, dim):
        if item.number == _DIM_VALUE and (size := _number(file, item)) > 0:
            return NamedAxis(Axis.fixed(size))
        if item.number == _DIM_NAME:
            return NamedAxis(Axis(), _text(file, item))
    return NamedAxis(Axis())


def _parts(file: BinaryIO, message: Field) -> Iterator[Field]:
    return fields(file, message.content, message.end)


def _text(file: BinaryIO, part: Field) -> str:
    if part.end - part.content > MOST_TEXT:
        raise MalformedError(f"a name in it has {part.end - part.content:,} bytes")
    file.seek(part.content)
    return file.read(part.end - part.content).decode("utf-8", "replace")


def _number(file: BinaryIO, part: Field) -> int:
    return next(iter(_numbers(file, part)), 0)


def _numbers(file: BinaryIO, part: Field) -> list[int]:
    """The numbers of a field: one, or several that are packed. Negative ones are 0."""
    if part.end - part.content > MOST_TEXT:
        raise MalformedError(f"a list of numbers in it has {part.end - part.content:,} bytes")
    file.seek(part.content)
    numbers, number, shift = [], 0, 0
    for byte in file.read(part.end - part.content):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(0 if number >> _NUMBER_BITS else number)
            number, shift = 0, 0
    return numbers

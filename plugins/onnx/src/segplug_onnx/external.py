"""Find the files beside an ONNX file that hold its weights, without loading them and without onnx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from segplug.companions import named_companion, require_companion
from segplug.errors import ArtifactError
from segplug.regular_files import open_regular
from segplug_onnx.metadata import MODEL_GRAPH
from segplug_onnx.wire import Field, MalformedError, fields

__all__ = ["external_files", "require_external_files"]

# Field numbers of onnx.proto: GraphProto, NodeProto, AttributeProto, TensorProto and StringStringEntryProto.
_NODE, _INITIALIZER = 1, 5
_ATTRIBUTE = 5
_TENSORS, _GRAPHS = (5, 10), (6, 11)
_EXTERNAL_DATA, _KEY, _VALUE = 13, 1, 2


def external_files(path: Path) -> tuple[Path, ...]:
    """The files in which a model stores its weights, sorted by name.

    Raises:
        ArtifactError: it is no ONNX file, or names a file that may not be a part of it; see
            :mod:`segplug.companions`.
    """
    names: set[str] = set()
    try:
        with open_regular(path) as file:
            for field in fields(file, 0, path.stat().st_size):
                if field.number == MODEL_GRAPH:
                    names.update(_locations(file, field))
    except (MalformedError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path} is not an ONNX file, or was cut: {error}") from error
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error
    return tuple(named_companion(path, name) for name in sorted(names))


def require_external_files(path: Path) -> None:
    """Check that the files of a model's weights are there; raises as :func:`external_files` does."""
    for file in external_files(path):
        require_companion(path, file)


def _locations(file: BinaryIO, graph: Field) -> Iterator[str]:
    for tensor in _tensors(file, graph):
        for field in fields(file, tensor.content, tensor.end):
            if field.number == _EXTERNAL_DATA:
                entry = {item.number: item for item in fields(file, field.content, field.end)}
                if _KEY in entry and _VALUE in entry and _text(file, entry[_KEY]) == "location":
                    yield _text(file, entry[_VALUE])


def _tensors(file: BinaryIO, graph: Field) -> Iterator[Field]:
    """The tensors of a graph, those in its nodes' attributes and inner graphs included."""
    for field in fields(file, graph.content, graph.end):
        if field.number == _INITIALIZER:
            yield field
        elif field.number == _NODE:
            for item in fields(file, field.content, field.end):
                if item.number == _ATTRIBUTE:
                    yield from _tensors_of_attribute(file, item)


def _tensors_of_attribute(file: BinaryIO, attribute: Field) -> Iterator[Field]:
    for field in fields(file, attribute.content, attribute.end):
        if field.number in _TENSORS:
            yield field
        elif field.number in _GRAPHS:
            yield from _tensors(file, field)


def _text(file: BinaryIO, field: Field) -> str:
    file.seek(field.content)
    return file.read(field.end - field.content).decode("utf-8")

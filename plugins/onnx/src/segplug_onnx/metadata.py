"""Read and write segplug's metadata inside an ONNX file: one entry of ``metadata_props``, as JSON.

segplug writes the entry before the graph. So a file that was cut lacks the end of the graph, its last and
largest part, and is never taken for a whole file without metadata.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from segplug.errors import ArtifactError, UsageError
from segplug.files import writing
from segplug.model import META_ENTRY, ModelMeta
from segplug.regular_files import MOST_TEXT, open_regular, read_regular, why_no_file
from segplug_onnx.wire import MalformedError, bytes_field, copy_range, fields, number_field

__all__ = ["MODEL_GRAPH", "meta_entry", "read_meta", "read_properties", "with_extra_output", "write_meta"]

# Field numbers of onnx.proto: ModelProto, StringStringEntryProto, GraphProto and ValueInfoProto.
MODEL_GRAPH, _MODEL_PROPERTY = 7, 14
_KEY, _VALUE = 1, 2
_GRAPH_OUTPUT = 12
_INFO_NAME, _INFO_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT = 1, 2, 1, 1
_FLOAT = 1

_LARGEST = 2 << 30
"""Bytes of the largest message that protobuf takes."""


def read_meta(path: Path) -> ModelMeta | None:
    """The metadata of an ONNX file, or ``None`` if segplug did not write it.

    Reads a few hundred bytes, however large the file is.

    Raises:
        UsageError: the file does not exist.
        ArtifactError: it is not an ONNX file, or was cut, or its metadata is damaged or too new.
    """
    found = read_properties(path).get(META_ENTRY)
    return None if found is None else ModelMeta.from_json(found, file=path)


def read_properties(path: Path) -> dict[str, str]:
    """The entries of an ONNX file's ``metadata_props``; of equal keys the last.

    Raises:
        UsageError: the file does not exist.
        ArtifactError: it is not an ONNX file, or was cut.
    """
    if reason := why_no_file(path):
        raise UsageError(reason)
    size = path.stat().st_size
    if size == 0:
        raise ArtifactError(f"{path} is empty")
    found: dict[str, str] = {}
    has_graph = False
    try:
        with open_regular(path) as file:
            for field in fields(file, 0, size):
                has_graph = has_graph or field.number == MODEL_GRAPH
                if field.number == _MODEL_PROPERTY:
                    key, value = _entry(file, field.content, field.end)
                    found[key] = value
    except (MalformedError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error
    if not has_graph:
        raise ArtifactError(f"{path} is not an ONNX file, or was cut: it holds no graph")
    return found


def write_meta(path: Path, meta: ModelMeta) -> None:
    """Replace the metadata of an ONNX file; everything else stays byte for byte.

    The file is copied block by block to a temporary file beside it, which then replaces it. So it is whole at
    any time. A separate file of weights is not touched.

    Raises:
        ArtifactError: it is not an ONNX file, or was cut, or the disk is full.
    """
    read_meta(path)  # refuses anything but a whole ONNX file, before anything is written
    entry = meta_entry(meta)
    with writing(path, force=True) as temporary, open_regular(path) as source, open(temporary, "wb") as copy:
        for field in fields(source, 0, path.stat().st_size):
            if field.number == _MODEL_PROPERTY and _entry(source, field.content, field.end)[0] == META_ENTRY:
                continue
            if field.number == MODEL_GRAPH:
                copy.write(entry)
            copy_range(source, copy, field.start, field.end)


def meta_entry(meta: ModelMeta) -> bytes:
    """The field of a ModelProto that holds ``meta``."""
    pair = bytes_field(_KEY, META_ENTRY.encode()) + bytes_field(_VALUE, meta.to_json().encode())
    return bytes_field(_MODEL_PROPERTY, pair)


def with_extra_output(path: Path, name: str) -> bytes:
    """The bytes of the model at ``path`` with one more output: its float32 value ``name``.

    A protobuf parser merges a message that occurs twice, so a second, almost empty graph behind
    the first adds to it.
    """
    tensor = bytes_field(_TYPE_TENSOR, number_field(_TENSOR_ELEMENT, _FLOAT))
    info = bytes_field(_INFO_NAME, name.encode()) + bytes_field(_INFO_TYPE, tensor)
    return read_regular(path, most_bytes=_LARGEST) + bytes_field(
        MODEL_GRAPH, bytes_field(_GRAPH_OUTPUT, info)
    )


def _entry(file: BinaryIO, start: int, end: int) -> tuple[str, str]:
    texts = {_KEY: "", _VALUE: ""}
    for field in fields(file, start, end):
        if field.end - field.content > MOST_TEXT:
            raise MalformedError(f"an entry of its metadata has {field.end - field.content:,} bytes")
        file.seek(field.content)
        try:
            texts[field.number] = file.read(field.end - field.content).decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedError("its metadata is not UTF-8 text") from error
    return texts[_KEY], texts[_VALUE]


def _damaged(path: Path, error: Exception) -> ArtifactError:
    return ArtifactError(f"{path} is not an ONNX file, or was cut: {error}")

"""Write a traced graph as an ONNX file, tensor by tensor.

Serialising a ModelProto that contains the weights would hold three copies of the weights in memory. Here only
the small parts go through protobuf, and the weights are written directly to the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from segplug.model import ModelMeta
from segplug_onnx.metadata import MODEL_GRAPH, meta_entry
from segplug_onnx.wire import bytes_field, field_header, number_field

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["LARGEST_FILE", "data_path", "write_model"]

LARGEST_FILE = 2**31 - 2**20
"""Most bytes of weights in one protobuf message, with a margin for everything else."""

_INLINE = 1024
"""Tensors below this size in bytes go through protobuf: shapes, axes, scalars."""

_ALIGNMENT = 4096
"""Offsets in a data file are multiples of this, so that readers can map the file into memory."""

# Field numbers of onnx.proto: GraphProto, TensorProto and StringStringEntryProto.
_GRAPH_INITIALIZER = 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 8, 9, 13, 14
_KEY, _VALUE = 1, 2
_EXTERNAL = 1


def data_path(path: Path) -> Path:
    """The file for the weights of a model that is too large for one file."""
    return path.with_name(path.name + ".data")


def write_model(model: ir.Model, path: Path, meta: ModelMeta) -> bool:
    """Write ``model``, which loses its large initialisers.

    Returns:
        Whether the weights were too large and went to :func:`data_path`.
    """
    large = _take_large_initializers(model)
    skeleton = _serialized(model)
    total = sum(len(part) for part in skeleton) + sum(tensor.nbytes + 256 for tensor in large.values())
    if total <= LARGEST_FILE:
        with open(path, "wb") as file:
            _write(file, skeleton, meta, large)
        return False
    weights = data_path(path)
    with open(weights, "wb") as file:
        pointers = [_append(file, name, tensor, weights.name) for name, tensor in large.items()]
    with open(path, "wb") as file:
        _write(file, (skeleton[0], skeleton[1] + b"".join(pointers)), meta, {})
    return True


def _take_large_initializers(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Move the large tensors out of the graph, which onnxscript's rewriter may keep alive."""
    large: dict[str, ir.TensorProtocol] = {}
    for name, value in tuple(model.graph.initializers.items()):
        if value.const_value is not None and value.const_value.nbytes >= _INLINE:
            large[name] = value.const_value
            del model.graph.initializers[name]
            value.const_value = None
    return large


def _serialized(model: ir.Model) -> tuple[bytes, bytes]:
    """The model without its graph, and the graph without its large initialisers."""
    import onnx_ir as ir

    proto: Any = ir.to_proto(model)
    graph: bytes = proto.graph.SerializeToString()
    proto.ClearField("graph")
    return proto.SerializeToString(), graph


def _write(
    file: BinaryIO, skeleton: tuple[bytes, bytes], meta: ModelMeta, tensors: dict[str, ir.TensorProtocol]
) -> None:
    model, graph = skeleton
    headers = [_raw_header(name, tensor) for name, tensor in tensors.items()]
    length = len(graph) + sum(map(len, headers)) + sum(tensor.nbytes for tensor in tensors.values())
    file.write(model)
    file.write(meta_entry(meta))
    file.write(field_header(MODEL_GRAPH, length))
    file.write(graph)
    for header, tensor in zip(headers, tensors.values(), strict=True):
        file.write(header)
        file.write(tensor.tobytes())


def _raw_header(name: str, tensor: ir.TensorProtocol) -> bytes:
    """An initialiser's field without its raw bytes, which follow."""
    described = _described(name, tensor) + field_header(_RAW_DATA, tensor.nbytes)
    return field_header(_GRAPH_INITIALIZER, len(described) + tensor.nbytes) + described


def _append(file: BinaryIO, name: str, tensor: ir.TensorProtocol, location: str) -> bytes:
    """Append a tensor to the data file; returns the initialiser's field that points to it."""
    file.write(bytes(-file.tell() % _ALIGNMENT))
    entries = {"location": location, "offset": str(file.tell()), "length": str(tensor.nbytes)}
    file.write(tensor.tobytes())
    pointer = b"".join(
        bytes_field(_EXTERNAL_DATA, bytes_field(_KEY, key.encode()) + bytes_field(_VALUE, value.encode()))
        for key, value in entries.items()
    )
    content = _described(name, tensor) + pointer + number_field(_DATA_LOCATION, _EXTERNAL)
    return bytes_field(_GRAPH_INITIALIZER, content)


def _described(name: str, tensor: ir.TensorProtocol) -> bytes:
    dims = b"".join(number_field(_DIMS, int(size)) for size in tensor.shape.numpy())
    kind = number_field(_DATA_TYPE, int(tensor.dtype))
    return dims + kind + bytes_field(_NAME, name.encode())

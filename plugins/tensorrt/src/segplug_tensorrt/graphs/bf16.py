"""Convert a graph to bfloat16: first to fp16, then from fp16 to bfloat16 with the original weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from segplug_tensorrt.graphs import fp16
from segplug_tensorrt.graphs.converted import Converted
from segplug_tensorrt.graphs.sensitive import sensitive_nodes

__all__ = ["convert", "round_to_bfloat16"]

_FP32, _FP16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
_BF16 = onnx.TensorProto.BFLOAT16
_LARGEST = 0x7F7F
"""The bits of the largest finite bfloat16 number."""

_IN_FP32 = ("ConvTranspose", "HardSwish")
"""Operators that TensorRT-RTX 1.7 cannot build in bfloat16: no kernel for one, no parser for the other."""


def convert(model: onnx.ModelProto) -> Converted:
    """Convert to bfloat16; input and output stay float32.

    bfloat16 has the range of fp32, so only nodes that would magnify rounding errors stay in fp32. The opset
    does not change: ONNX has bfloat16 convolutions from opset 22 on, TensorRT's parser in every opset.

    Args:
        model: With its weights. It is not changed.
    """
    named = fp16.prepare(model)
    before = _tensors(named)
    kept = [node.name for node in named.graph.node if node.op_type in _IN_FP32]
    sensitive = sensitive_nodes(named)
    converted = fp16.to_fp16(named, (*kept, *sensitive))
    for key, tensor in _tensors(converted).items():
        if tensor.data_type == _FP16:
            _replace(tensor, before.get(key, tensor))
    for graph in _graphs(converted.graph):
        for value in (*graph.value_info, *graph.input, *graph.output):
            if value.type.tensor_type.elem_type == _FP16:
                value.type.tensor_type.elem_type = _BF16
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name in ("to", "dtype") and attribute.i == _FP16:
                    attribute.i = _BF16
    return Converted(converted, sensitive)


def round_to_bfloat16(array: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bfloat16 numbers, ties to even. Finite numbers stay finite.

    Args:
        array: float32. Infinities and NaN stay as they are.
    """
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    nearest = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    # Attention masks use the lowest float32. As -inf, a row of them would have no softmax.
    nearest = np.where(nearest & 0x7FFF > _LARGEST, nearest & 0x8000 | _LARGEST, nearest)
    cut = (bits >> 16).astype(np.uint16)
    return np.where(np.isfinite(array), nearest, np.where(np.isnan(array), cut | 0x40, cut))


def _replace(tensor: onnx.TensorProto, source: onnx.TensorProto) -> None:
    array = numpy_helper.to_array(source).astype(np.float32)
    made = onnx.TensorProto(name=tensor.name, data_type=_BF16, dims=array.shape)
    made.raw_data = round_to_bfloat16(array).astype("<u2").tobytes()
    tensor.CopyFrom(made)


def _tensors(model: onnx.ModelProto) -> dict[tuple[str, str], onnx.TensorProto]:
    """All tensors: weights by name, those in attributes by node and attribute."""
    found = {}
    for graph in _graphs(model.graph):
        found.update({("", tensor.name): tensor for tensor in graph.initializer})
        for node in graph.node:
            found.update({(node.name, each.name): each.t for each in node.attribute if each.HasField("t")})
    return found


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, and the graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)

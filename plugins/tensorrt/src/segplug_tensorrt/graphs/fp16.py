"""Convert a graph to fp16 with ONNX Runtime's converter; nodes that fp16 would make wrong stay in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from segplug_tensorrt.graphs.converted import Converted
from segplug_tensorrt.graphs.sensitive import sensitive_nodes

__all__ = ["LARGEST", "convert", "prepare", "to_fp16"]

_FP32, _FP16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16

LARGEST = 65504.0
"""The largest finite fp16 number. The converter clips larger weights."""

_SMALLEST = 5.96e-08
"""The smallest positive fp16 number. The converter raises smaller weights to it."""


def convert(model: onnx.ModelProto) -> Converted:
    """Convert to fp16; input and output stay float32.

    Args:
        model: With its weights. It is not changed.
    """
    named = prepare(model)
    out_of_range, sensitive = _out_of_range(named), sensitive_nodes(named)
    return Converted(to_fp16(named, (*out_of_range, *sensitive)), sensitive, out_of_range=out_of_range)


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name and every constant is a weight."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    _turn_constants_into_weights(named)
    _name_nodes(named)
    weights = {tensor.name for tensor in named.graph.initializer}
    # If a weight is also listed as a value, the converter changes only the type of the value.
    values = [value for value in named.graph.value_info if value.name not in weights]
    del named.graph.value_info[:]
    named.graph.value_info.extend(values)
    return named


def to_fp16(named: onnx.ModelProto, kept: Sequence[str]) -> onnx.ModelProto:
    """Convert to fp16, except some nodes and all that compute positions.

    Args:
        named: A result of :func:`prepare`. The names of its weights may change.
        kept: Names of nodes that stay in fp32.
    """
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    never = {node.name for node in named.graph.node if node.op_type in float16.DEFAULT_OP_BLOCK_LIST}
    blocked = {*kept, *never, *_position_nodes(named)}
    _copy_shared_weights(named, blocked)
    converter: Any = float16.convert_float_to_float16
    converted: onnx.ModelProto = converter(
        named, keep_io_types=True, node_block_list=list(blocked), min_positive_val=_SMALLEST
    )
    _merge_casts(converted)
    _remove_round_trips(converted, {node.name for node in named.graph.node})
    OnnxModel(converted).topological_sort()
    return converted


def _position_nodes(model: onnx.ModelProto) -> set[str]:
    """Nodes whose values depend on sizes and indices only, not on pixels, and nodes that sample at positions.

    fp16 holds the integers up to 2048, bfloat16 up to 256, and an image has more columns.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    exact = (onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL)
    pixels = {value.name for value in model.graph.input}
    found = {node.name for node in model.graph.node if node.op_type == "GridSample"}
    for node in model.graph.node:
        # A graph inside a node may read pixels that are not among the node's inputs.
        if pixels & set(node.input) or any(each.HasField("g") for each in node.attribute):
            pixels.update(name for name in node.output if types.get(name) not in exact)
        else:
            found.add(node.name)
    return found


def _copy_shared_weights(model: onnx.ModelProto, blocked: set[str]) -> None:
    """Copy the weights that fp16 and fp32 nodes share: the converter would round them for both."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == _FP32}
    shared = {name for node in model.graph.node if node.name not in blocked for name in node.input}
    copied = {}
    for node in model.graph.node:
        for number, name in enumerate(node.input):
            if node.name not in blocked or name not in shared or name not in weights:
                continue
            if name not in copied:
                copied[name] = model.graph.initializer.add()
                copied[name].CopyFrom(weights[name])
                copied[name].name = f"{name}_in_fp32"
            node.input[number] = copied[name].name


def _remove_round_trips(model: onnx.ModelProto, own: set[str]) -> None:
    """Remove the pairs of casts to fp16 and back that the converter puts between two fp32 nodes.

    Args:
        model: A converted graph.
        own: Names of the nodes that it had before. Casts among them stay.
    """
    casts = [node for node in model.graph.node if node.op_type == "Cast" and node.name not in own]
    exact = {node.output[0]: node.input[0] for node in casts if node.attribute[0].i == _FP16}
    for node in casts:
        if node.attribute[0].i == _FP32 and node.input[0] in exact:
            node.input[0] = exact[node.input[0]]
            node.op_type = "Identity"
            del node.attribute[:]


def _turn_constants_into_weights(model: onnx.ModelProto) -> None:
    """Turn constants into weights: the converter would round a constant for all nodes that read it."""
    others = []
    for node in model.graph.node:
        value = (
            node.attribute[0].t if node.op_type == "Constant" and node.attribute[0].HasField("t") else None
        )
        if value is None:
            others.append(node)
            continue
        weight = model.graph.initializer.add()
        weight.CopyFrom(value)
        weight.name = node.output[0]
    del model.graph.node[:]
    model.graph.node.extend(others)


def _merge_casts(model: onnx.ModelProto) -> None:
    """Remove duplicate casts: the converter adds one for each fp32 node that reads a tensor."""
    seen: set[str] = set()
    once = []
    for node in model.graph.node:
        if node.op_type != "Cast" or node.output[0] not in seen:
            once.append(node)
        seen.update(node.output)
    del model.graph.node[:]
    model.graph.node.extend(once)


def _name_nodes(model: onnx.ModelProto) -> None:
    taken = {node.name for node in model.graph.node}
    for number, node in enumerate(model.graph.node):
        if not node.name:
            name = f"{node.op_type}_{number}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)


def _out_of_range(model: onnx.ModelProto) -> tuple[str, ...]:
    """Nodes with a finite constant that fp16 would clip."""
    large = {tensor.name for tensor in model.graph.initializer if _too_large(tensor)}
    return tuple(node.name for node in model.graph.node if large & set(node.input))


def _too_large(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type != _FP32:
        return False
    array = np.abs(numpy_helper.to_array(tensor))
    return bool((array[np.isfinite(array)] > LARGEST).any())

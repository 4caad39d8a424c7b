"""A half-precision graph, by ONNX Runtime's converter, which clips what half precision cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from segplug_tensorrt.graphs.converted import Converted
from segplug_tensorrt.graphs.sensitive import sensitive_nodes

__all__ = ["LARGEST", "convert", "halved", "prepared"]

_FP32, _FP16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16

LARGEST = 65504.0
"""The largest finite half-precision number."""

_SMALLEST = 5.96e-08
"""The smallest positive one: the converter raises smaller weights to it, below any rounding."""


def convert(model: onnx.ModelProto) -> Converted:
    """The same network in half precision, its input and output as they were.

    Args:
        model: With its weights; it is not changed.
    """
    named = prepared(model)
    beyond, sensitive = _out_of_range(named), sensitive_nodes(named)
    return Converted(halved(named, (*beyond, *sensitive)), sensitive, out_of_range=beyond)


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose nodes all have names, and whose constants are weights."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    _constants_as_weights(named)
    _name_nodes(named)
    weights = {tensor.name for tensor in named.graph.initializer}
    # Of a weight that is also listed as a value, the converter changes the type there, and not the weight.
    values = [value for value in named.graph.value_info if value.name not in weights]
    del named.graph.value_info[:]
    named.graph.value_info.extend(values)
    return named


def halved(named: onnx.ModelProto, kept: Sequence[str]) -> onnx.ModelProto:
    """The network in half precision, but for some nodes and for all that computes positions.

    Args:
        named: What :func:`prepared` gives; its weights' names may change.
        kept: Names of nodes that stay in fp32.
    """
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    never = {node.name for node in named.graph.node if node.op_type in float16.DEFAULT_OP_BLOCK_LIST}
    blocked = {*kept, *never, *_positional(named)}
    _own_weights(named, blocked)
    converter: Any = float16.convert_float_to_float16
    converted: onnx.ModelProto = converter(
        named, keep_io_types=True, node_block_list=list(blocked), min_positive_val=_SMALLEST
    )
    _merge_casts(converted)
    _join_fp32(converted, {node.name for node in named.graph.node})
    OnnxModel(converted).topological_sort()
    return converted


def _positional(model: onnx.ModelProto) -> set[str]:
    """Nodes whose numbers come from sizes and indices, never from pixels, and those that read at positions.

    Half precision counts to 2048 without a gap, bf16 to 256: fewer than an image has columns.
    """
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    exact = (onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL)
    pixels = {value.name for value in model.graph.input}
    found = {node.name for node in model.graph.node if node.op_type == "GridSample"}
    for node in model.graph.node:
        # What is inside a node may read pixels that its inputs do not show.
        if pixels & set(node.input) or any(each.HasField("g") for each in node.attribute):
            pixels.update(name for name in node.output if types.get(name) not in exact)
        else:
            found.add(node.name)
    return found


def _own_weights(model: onnx.ModelProto, blocked: set[str]) -> None:
    """Copies of the weights that nodes of both kinds read: the converter would round the one for both."""
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


def _join_fp32(model: onnx.ModelProto, own: set[str]) -> None:
    """Take out the way through half precision that the converter puts between two nodes in fp32.

    Args:
        model: A converted graph.
        own: Names of the nodes that it had before; the casts among them have their reasons.
    """
    casts = [node for node in model.graph.node if node.op_type == "Cast" and node.name not in own]
    exact = {node.output[0]: node.input[0] for node in casts if node.attribute[0].i == _FP16}
    for node in casts:
        if node.attribute[0].i == _FP32 and node.input[0] in exact:
            node.input[0] = exact[node.input[0]]
            node.op_type = "Identity"
            del node.attribute[:]


def _constants_as_weights(model: onnx.ModelProto) -> None:
    """Name constants among the weights: the converter rounds a constant's own value, whoever uses it."""
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
    """Keep one of the equal casts that the converter adds for each fp32 node that reads a tensor."""
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
    """Nodes with a finite constant that half precision would clip."""
    large = {tensor.name for tensor in model.graph.initializer if _too_large(tensor)}
    return tuple(node.name for node in model.graph.node if large & set(node.input))


def _too_large(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type != _FP32:
        return False
    array = np.abs(numpy_helper.to_array(tensor))
    return bool((array[np.isfinite(array)] > LARGEST).any())

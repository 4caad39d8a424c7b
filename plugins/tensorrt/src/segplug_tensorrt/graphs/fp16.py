"""A half-precision graph, by ONNX Runtime's converter, which clips what half precision cannot hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["LARGEST", "convert"]

LARGEST = 65504.0
"""The largest finite half-precision number."""

_SMALLEST = 5.96e-08
"""The smallest positive one: the converter raises smaller weights to it, below any rounding."""


def convert(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The same network in half precision, its input and output as they were.

    Args:
        model: With its weights; it is not changed.

    Returns:
        The graph, and the names of the nodes that stay in fp32 since a constant of theirs is out of range.
    """
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    named = onnx.ModelProto()
    named.CopyFrom(model)
    _constants_as_weights(named)
    _name_nodes(named)
    kept = _out_of_range(named)
    converter: Any = float16.convert_float_to_float16
    converted: onnx.ModelProto = converter(
        named, keep_io_types=True, node_block_list=list(kept), min_positive_val=_SMALLEST
    )
    _merge_casts(converted)
    OnnxModel(converted).topological_sort()
    return converted, kept


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
    if tensor.data_type != onnx.TensorProto.FLOAT:
        return False
    array = np.abs(numpy_helper.to_array(tensor))
    return bool((array[np.isfinite(array)] > LARGEST).any())

"""Layers that magnify the rounding of their inputs, found by their weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["WEIGHTED", "sensitive_nodes"]

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Where the arithmetic is."""

_MOST = 16.0
"""Euclidean norm of one output channel's weights beyond which rounding is magnified.

Inputs of about 1 that are rounded to 11 bits then move an output by 16/2048, about a hundredth, each time. In
trained networks norms are 1 to 15, but for channels whose variance was nearly nothing: their batch norm,
folded into the weights, makes up for that with factors of hundreds. MobileNetV2 has such channels."""


def sensitive_nodes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the layers that magnify rounding, and of what computes their inputs from the layers before.

    Args:
        model: Its nodes have names.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    found: set[str] = set()
    for node in model.graph.node:
        if node.op_type in WEIGHTED and _norm(node, weights) > _MOST:
            found.add(node.name)
            waiting = list(node.input)
            while waiting:
                maker = makers.get(waiting.pop())
                if maker is None or maker.name in found:
                    continue
                found.add(maker.name)
                if maker.op_type not in WEIGHTED:
                    waiting.extend(maker.input)
    return tuple(node.name for node in model.graph.node if node.name in found)


def _norm(node: onnx.NodeProto, weights: dict[str, onnx.TensorProto]) -> float:
    """The largest norm of the weights that make one output channel; 0 for a product of two activations."""
    tensor = weights.get(node.input[1])
    if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
        return 0.0
    array = numpy_helper.to_array(tensor).astype(np.float64)
    transposed = any(each.name == "transB" and each.i for each in node.attribute)
    if node.op_type == "Conv" or transposed:
        rows = array.reshape(array.shape[0], -1)
    elif node.op_type == "ConvTranspose":  # inputs, outputs of a group, kernel
        rows = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)
    else:
        rows = np.moveaxis(array, -1, 0).reshape(array.shape[-1], -1)
    return float(np.sqrt((rows**2).sum(axis=1)).max(initial=0.0))

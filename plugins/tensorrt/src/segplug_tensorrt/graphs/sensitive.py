"""Find the layers that would magnify rounding errors of their inputs, by their weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["WEIGHTED", "sensitive_nodes"]

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""The operators with most of the arithmetic."""

_LARGEST_NORM = 16.0
"""Layers are sensitive if the weights of an output channel have a larger Euclidean norm than this.

With this norm, rounding inputs of about 1 to 11 bits changes an output by 16/2048, about a hundredth. Trained
networks have norms of 1 to 15, except in channels with almost no variance: there the batch norm, which is
folded into the weights, has factors of hundreds. MobileNetV2 has such channels."""


def sensitive_nodes(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the layers that would magnify rounding errors, and of the nodes that compute their inputs.

    The search for those nodes ends at the previous layers with weights.

    Args:
        model: All its nodes have names.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    found: set[str] = set()
    for node in model.graph.node:
        if node.op_type in WEIGHTED and _norm(node, weights) > _LARGEST_NORM:
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
    """The largest norm of the weights of one output channel; 0 for a product of two activations."""
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

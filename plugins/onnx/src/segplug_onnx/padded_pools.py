"""Keep padding of zeros before a maximum pool apart from it.

ONNX Runtime's rewrite Pad_Fusion (1.31, at every level of optimisation) makes such a padding one of the
pool's own, which is minus infinity: along the edges of the image, other numbers wherever the largest value is
below 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["keep_padding_before_pools"]


def keep_padding_before_pools(model: ir.Model) -> None:
    """Put an operator that changes no number between each padding and the maximum pool that follows it.

    Args:
        model: Changed in place.
    """
    import onnx_ir as ir

    for node in tuple(model.graph):
        padded = node.inputs[0] if node.op_type == "MaxPool" else None
        source = None if padded is None else padded.producer()
        if padded is None or source is None or source.op_type != "Pad":
            continue
        lowest = ir.node(
            "Constant", [], attributes={"value": ir.tensor(np.float32(np.finfo(np.float32).min))}
        )
        kept = ir.node("Max", [padded, lowest.outputs[0]])
        for value, like in ((lowest.outputs[0], None), (kept.outputs[0], padded)):
            value.dtype = ir.DataType.FLOAT
            value.shape = ir.Shape([]) if like is None else like.shape
        lowest.outputs[0].name = f"{padded.name}_lowest"
        kept.outputs[0].name = f"{padded.name}_kept"
        model.graph.insert_before(node, [lowest, kept])
        node.replace_input_with(0, kept.outputs[0])

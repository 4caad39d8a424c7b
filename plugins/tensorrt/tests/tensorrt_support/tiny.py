"""A tiny network as an ONNX model with segplug metadata."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segplug.model import META_ENTRY, ModelMeta
from segplug.preprocessing import Decoding

CLASSES = ("sky", "road", "car", "tree")


def tiny(
    shape: tuple[object, ...] = ("n", 3, "h", "w"), stride: int = 1, **changes: object
) -> onnx.ModelProto:
    """Convolution, ReLU, classifier: logits at the input's size divided by ``stride``, rounded up."""
    rng = np.random.default_rng(0)
    size = [-(-edge // stride) if isinstance(edge, int) else f"{edge}_out" for edge in shape[2:]]
    weights = {
        "stem": rng.normal(0, 0.2, (8, shape[1], 3, 3)).astype(np.float32),
        "head": rng.normal(0, 0.5, (len(CLASSES), 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "stem"], ["features"], pads=[1, 1, 1, 1], strides=[stride] * 2),
        helper.make_node("Relu", ["features"], ["positive"]),
        helper.make_node("Conv", ["positive", "head"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (shape[0], len(CLASSES), *size))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    values = {
        "name": "tiny",
        "classes": CLASSES,
        "in_channels": shape[1],
        "decoding": Decoding.for_channels(shape[1]),  # type: ignore[arg-type]
        "out_channels": len(CLASSES),
        "output_stride": stride,
        "input_size": (32, 48),
        **changes,
    }
    entry = model.metadata_props.add()
    entry.key, entry.value = META_ENTRY, ModelMeta(**values).to_json()  # type: ignore[arg-type]
    return model

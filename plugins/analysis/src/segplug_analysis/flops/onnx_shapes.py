"""The shape of every value in an ONNX graph, for one input size.

Each value gets a ``Shape`` operator, and only their results are outputs. Where shapes depend on sizes only,
ONNX Runtime computes them while it opens the graph, and removes the operators that are then not needed: for
most files nothing is computed. Where shapes depend on values, only the operators that lead to them run.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped, unused-ignore]
from onnx import helper

from segplug.errors import ArtifactError, ShapeError
from segplug_analysis.flops.onnx_file import weights_folder
from segplug_analysis.flops.rules import Shape

__all__ = ["value_shapes"]

_FATAL, _WARNING = 4, 2

_NO_TENSORS = frozenset(
    {
        "Optional",
        "OptionalGetElement",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceMap",
        "SplitToSequence",
    }
)
"""Operators whose outputs have no shape, or may have none."""


def value_shapes(model: onnx.ModelProto, path: Path, image: str, fed: Shape) -> dict[str, Shape]:
    """Name to shape, of every input, weight and result of the graph.

    Args:
        model: It is changed. External weights need not be loaded.
        path: The file that it was read from; external weights are beside it.
        image: Name of its one input.
        fed: The shape of that input.

    Raises:
        ShapeError: the network cannot take ``fed``.
        ArtifactError: ONNX Runtime cannot open the file; its reason is quoted.
    """
    graph = model.graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    shapes |= {weight.values.name: tuple(weight.dims) for weight in graph.sparse_initializer}
    values = [name for node in graph.node if node.op_type not in _NO_TENSORS for name in node.output if name]
    declared = next(info for info in graph.input if info.name == image)
    kind = declared.type.tensor_type.elem_type
    _add_shape_outputs(graph, values, helper.make_tensor_value_info(image, kind, fed))
    answers = _run(model, path, {image: np.zeros(fed, dtype=helper.tensor_dtype_to_np_dtype(kind))})
    shapes[image] = fed
    shapes |= {name: tuple(map(int, answer)) for name, answer in zip(values, answers, strict=True)}
    return shapes


def _add_shape_outputs(graph: onnx.GraphProto, values: list[str], image: onnx.ValueInfoProto) -> None:
    # Old files list weights among the inputs; here they are constants. The shapes of values that a file
    # has were written for another input.
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(image)
    for position, value in enumerate(values):
        answer = f"segplug.shape.{position}"
        graph.node.append(helper.make_node("Shape", [value], [answer]))
        graph.output.append(helper.make_tensor_value_info(answer, onnx.TensorProto.INT64, None))


def _run(model: onnx.ModelProto, path: Path, feed: Mapping[str, Any]) -> list[Any]:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _FATAL
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(weights_folder(path))
    )
    try:
        with _silent():
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
            )
    except Exception as error:
        if "ShapeInferenceError" in str(error):
            raise _refused(path, feed, error) from error
        raise ArtifactError(f"{path} cannot be opened: {_reason(error)}") from error
    try:
        answers: list[Any] = session.run(None, dict(feed))
    except Exception as error:
        raise _refused(path, feed, error) from error
    return answers


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)


def _refused(path: Path, feed: Mapping[str, Any], error: Exception) -> ShapeError:
    (image,) = feed.values()
    return ShapeError(f"{path} cannot take an input of {'x'.join(map(str, image.shape))}: {_reason(error)}")


def _reason(error: Exception) -> str:
    """ONNX Runtime's message without its codes and source locations."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = re.sub(r"/\S+\.(cc|h|cpp):\d+ .*?\) ", "", text)
    return " ".join(text.split())[:300]

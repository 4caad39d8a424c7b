"""bf16: the converted graph, and the engine that TensorRT-RTX builds from it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter
from segplug_tensorrt.graphs import bf16
from tensorrt_support.tiny import tiny

from segplug import Segplug


def with_all_kinds():
    """A deconvolution, HardSwish, and the number of columns, which bfloat16 rounds above 256."""
    model = tiny()
    weight = np.random.default_rng(1).normal(0, 0.3, (8, 8, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "up"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1e-3), "scale"))
    added = [
        helper.make_node("ConvTranspose", ["positive", "up"], ["wide"]),
        helper.make_node("HardSwish", ["wide"], ["bent"]),
        helper.make_node("Shape", ["bent"], ["columns"], start=3),
        helper.make_node("Cast", ["columns"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "scale"], ["share"]),
        helper.make_node("Mul", ["bent", "scale"], ["small"]),
        helper.make_node("Add", ["small", "share"], ["moved"]),
        helper.make_node("Conv", ["moved", "head"], ["output"]),
    ]
    del model.graph.node[2:]
    model.graph.node.extend(added)
    return model


def test_rounding_is_to_the_nearest_and_stays_finite():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = np.random.default_rng(0).normal(size=10000).astype(np.float32)
    odd = np.array([1.00390625, 1.01171875, np.inf, -np.inf, 1e-40, -0.0], np.float32)
    values = np.concatenate([values, odd])
    assert np.array_equal(bf16.round_to_bfloat16(values), values.astype(ml_dtypes.bfloat16).view(np.uint16))
    lowest = np.array([np.finfo(np.float32).min, np.finfo(np.float32).max], np.float32)
    assert bf16.round_to_bfloat16(lowest).tolist() == [0xFF7F, 0x7F7F]
    (nan,) = bf16.round_to_bfloat16(np.array([np.nan], np.float32)).view(ml_dtypes.bfloat16)
    assert np.isnan(nan)


@pytest.mark.parametrize("source", [tiny, with_all_kinds])
def test_the_graph_is_valid_and_its_weights_come_from_fp32(source):
    """It is checked as opset 22, the first with bfloat16 for Conv."""
    model = source()
    before = model.SerializeToString()
    made = bf16.convert(model).model
    assert model.SerializeToString() == before
    onnx.checker.check_model(version_converter.convert_version(made, 22), full_check=True)
    ends = (*made.graph.input, *made.graph.output)
    assert {value.type.tensor_type.elem_type for value in ends} == {TensorProto.FLOAT}
    weights = {tensor.name: tensor for tensor in made.graph.initializer}
    stem = numpy_helper.to_array(model.graph.initializer[0])
    assert weights["stem"].data_type == TensorProto.BFLOAT16
    assert weights["stem"].raw_data == bf16.round_to_bfloat16(stem).tobytes()


def test_positions_and_their_constants_stay_in_fp32():
    made = bf16.convert(with_all_kinds()).model
    makers = {name: node for node in made.graph.node for name in node.output}
    constants = {tensor.name: tensor.data_type for tensor in made.graph.initializer}
    (share,) = (node for node in made.graph.node if "scale_in_fp32" in node.input)
    assert constants["scale_in_fp32"] == TensorProto.FLOAT
    assert constants["scale"] == TensorProto.BFLOAT16
    assert makers[share.input[0]].op_type == "Identity", "no casts to bfloat16 and back"


@pytest.mark.parametrize("source", [tiny, with_all_kinds])
def test_an_engine_is_built(make, source):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")
    path = make(source())
    built = Segplug().build_engine(
        "tensorrt", path, output=path.with_suffix(".engine"), precision="bf16", max_shape=("1x3x32x48",)
    )
    described = built.meta.extra["tensorrt"]
    assert described["precision"] == "bf16"
    assert (described["input"]["dtype"], described["output"]["dtype"]) == ("float32", "float32")

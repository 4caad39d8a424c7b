"""fp16 and int8: the graphs in ONNX Runtime, and the engines that TensorRT-RTX builds from them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from segplug_tensorrt.graphs import fp16, int8

from plugins.tensorrt.tests.conftest import tiny
from segplug import Segplug
from segplug.errors import UsageError
from segplug.requests import BuildEngineRequest


def image(seed=1):
    return np.random.default_rng(seed).normal(size=(1, 3, 32, 48)).astype(np.float32)


def answer(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": image()})[0]


def with_weight(value):
    """The same answers: one channel is made smaller by ``value``, and larger again."""
    model = tiny()
    stem, head = model.graph.initializer
    small = numpy_helper.to_array(stem).copy()
    small[0] /= value
    large = numpy_helper.to_array(head).copy()
    large[:, 0] *= value
    stem.CopyFrom(numpy_helper.from_array(small, stem.name))
    head.CopyFrom(numpy_helper.from_array(large, head.name))
    return model


def test_fp16_is_near_and_leaves_its_input_alone():
    model = tiny()
    before = model.SerializeToString()
    half, kept = fp16.convert(model)
    assert model.SerializeToString() == before
    assert kept == ()
    assert {tensor.data_type for tensor in half.graph.initializer} == {onnx.TensorProto.FLOAT16}
    expected, actual = answer(model), answer(half)
    assert actual.dtype == np.float32
    assert 0 < np.abs(expected - actual).max() < 2e-2 * np.ptp(expected)


def test_a_weight_beyond_half_precision_stays():
    model = with_weight(1e6)
    half, kept = fp16.convert(model)
    assert len(kept) == 1
    head = next(tensor for tensor in half.graph.initializer if tensor.name == "head")
    assert numpy_helper.to_array(head).max() > 65504
    assert np.allclose(answer(model), answer(half), atol=2e-2 * np.ptp(answer(model)))


def test_a_large_constant_and_two_fp32_readers_of_one_tensor():
    """Min and Max stay in fp32 by the converter's own list, and both want the same cast."""
    model = tiny()
    limit = numpy_helper.from_array(np.float32(1e6).reshape(1), "limit_value")
    added = [
        helper.make_node("Constant", [], ["limit"], value=limit),
        helper.make_node("Max", ["positive", "zero"], ["high"]),
        helper.make_node("Min", ["positive", "limit"], ["low"]),
        helper.make_node("Add", ["high", "low"], ["summed"]),
        helper.make_node("Conv", ["summed", "head"], ["output"]),
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    del model.graph.node[2:]
    model.graph.node.extend(added)
    half, kept = fp16.convert(model)
    onnx.checker.check_model(half, full_check=True)
    assert len(kept) == 1
    expected = answer(model)
    assert np.abs(expected - answer(half)).max() < 2e-2 * np.ptp(expected)


def test_int8_is_explicit_and_symmetric():
    model = tiny()
    quantised, kept = int8.convert(model, [{"input": image(seed)} for seed in range(3)])
    assert kept == (quantised.graph.node[-1].name,), "the classifier"
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantised.graph.initializer}
    steps = [node for node in quantised.graph.node if node.op_type == "QuantizeLinear"]
    assert steps
    assert all(not constants[node.input[2]].any() for node in steps)
    assert [entry.key for entry in quantised.metadata_props] == ["segplug.meta"]
    expected = answer(model)
    assert np.abs(expected - answer(quantised)).max() < 0.2 * np.ptp(expected)


@pytest.fixture
def pictures(tmp_path):
    import cv2

    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        picture = np.random.default_rng(number).integers(0, 256, (32, 48, 3), dtype=np.uint8)
        cv2.imwrite(str(path), picture)
    return paths


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_engines_are_built(make, precision, pictures):
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")
    source = make(std=(64.0, 64.0, 64.0))
    artifact = Segplug().build_engine(
        "tensorrt",
        source,
        output=source.with_suffix(".engine"),
        precision=precision,
        images=pictures,
        max_shape=("1x3x32x48",),
    )
    assert artifact.meta.extra["tensorrt"]["precision"] == precision
    assert artifact.meta.extra["tensorrt"]["output"]["dtype"] == "float32"


def test_int8_needs_images(make):
    source = make()
    with pytest.raises(UsageError, match="--input-img"):
        Segplug().build_engine("tensorrt", source, output=source.with_suffix(".engine"), precision="int8")


def test_scores_hold_on_real_weights(data_dir, tmp_path, monkeypatch):
    from segplug_tensorrt.calibration import calibration_batches

    monkeypatch.chdir(data_dir.parent)
    session = Segplug()
    config, weights = (data_dir / "models" / f"fastscnn_480x360_camvid{end}" for end in (".py", ".pth"))
    source = tmp_path / "fp32.onnx"
    meta = session.export(
        "onnx", session.load_model(config, checkpoint=weights), output=source, dynamic=True
    ).meta
    images = tuple(sorted((data_dir / "camvid" / "val").glob("*.png")))
    request = BuildEngineRequest(output=source, images=images)
    model = onnx.load(source)
    batches = calibration_batches(meta, "input", (-1, 3, -1, -1), request, 12)
    onnx.save(fp16.convert(model)[0], tmp_path / "fp16.onnx")
    onnx.save(int8.convert(model, batches)[0], tmp_path / "int8.onnx")
    scores = {}
    for name in ("fp32", "fp16", "int8"):
        report = session.evaluate(tmp_path / f"{name}.onnx", backend="onnxruntime", dataset=config)
        assert report.scores is not None
        scores[name] = report.scores.metrics["mIoU"]
    assert abs(scores["fp16"] - scores["fp32"]) < 0.001
    assert abs(scores["int8"] - scores["fp32"]) < 0.01

"""fp16 and int8: the graphs in ONNX Runtime, and the engines that TensorRT-RTX builds from them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from segplug_tensorrt.calibration import calibration_batches
from segplug_tensorrt.graphs import fp16, int8
from segplug_tensorrt.graphs.sensitive import sensitive_nodes
from tensorrt_support.tiny import tiny

from segplug import Segplug
from segplug.errors import UsageError
from segplug.model import Inference, ModelMeta
from segplug.preprocessing import usual_steps
from segplug.progress import QuietReporter
from segplug.requests import BuildEngineRequest
from segplug.testing.requests import make_request


def image(seed=1, channels=3):
    return np.random.default_rng(seed).normal(size=(1, channels, 32, 48)).astype(np.float32)


def logits_of(model, channels=3):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": image(channels=channels)})[0]


def with_weight(value):
    """A network with the same logits: it divides one channel by ``value``, and multiplies it again."""
    model = tiny()
    stem, head = model.graph.initializer
    small = numpy_helper.to_array(stem).copy()
    small[0] /= value
    large = numpy_helper.to_array(head).copy()
    large[:, 0] *= value
    stem.CopyFrom(numpy_helper.from_array(small, stem.name))
    head.CopyFrom(numpy_helper.from_array(large, head.name))
    return model


def test_fp16_logits_are_close_and_the_source_is_unchanged():
    model = tiny()
    before = model.SerializeToString()
    converted = fp16.convert(model)
    half, kept = converted.model, converted.out_of_range
    assert model.SerializeToString() == before
    assert kept == ()
    assert {tensor.data_type for tensor in half.graph.initializer} == {onnx.TensorProto.FLOAT16}
    expected, actual = logits_of(model), logits_of(half)
    assert actual.dtype == np.float32
    assert 0 < np.abs(expected - actual).max() < 2e-2 * np.ptp(expected)


def test_a_weight_out_of_range_stays_in_fp32():
    model = with_weight(1e6)
    converted = fp16.convert(model)
    half, kept = converted.model, converted.out_of_range
    assert len(kept) == 1
    head = next(tensor for tensor in half.graph.initializer if tensor.name == "head")
    assert numpy_helper.to_array(head).max() > 65504
    assert np.allclose(logits_of(model), logits_of(half), atol=2e-2 * np.ptp(logits_of(model)))


def test_a_large_constant_and_two_fp32_readers_of_one_tensor():
    """The converter keeps Min and Max in fp32, and both need the same cast."""
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
    converted = fp16.convert(model)
    half, kept = converted.model, converted.out_of_range
    onnx.checker.check_model(half, full_check=True)
    assert len(kept) == 1
    expected = logits_of(model)
    assert np.abs(expected - logits_of(half)).max() < 2e-2 * np.ptp(expected)


def test_layers_that_magnify_rounding_errors_stay_in_fp32():
    """One channel has hundreds of times the weights of the others, as batch norms can cause it."""
    model = tiny()
    weight = numpy_helper.to_array(model.graph.initializer[1]).copy()
    weight[0, 0] = 300.0
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(weight, "head"))
    model.graph.initializer.append(
        numpy_helper.from_array(np.eye(4, dtype=np.float32)[..., None, None], "last")
    )
    model.graph.node[2].output[0] = "magnified"
    model.graph.node.append(helper.make_node("Conv", ["magnified", "last"], ["output"]))
    named = fp16.prepare(model)
    conv, relu, magnifying, _ = (node.name for node in named.graph.node)
    assert sensitive_nodes(named) == (conv, relu, magnifying)
    assert sensitive_nodes(fp16.prepare(tiny())) == ()
    converted = fp16.convert(model)
    half, kept = converted.model, converted.out_of_range
    assert kept == ()
    kinds = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert [kinds[name] for name in ("stem", "head", "last")] == [1, 1, 10]
    quantised = int8.convert(model, [{"input": image()}]).model
    assert "QuantizeLinear" not in {node.op_type for node in quantised.graph.node}
    expected = logits_of(model)
    assert np.abs(expected - logits_of(half)).max() < 1e-3 * np.ptp(expected)


def test_int8_leaves_depthwise_convolutions_in_fp32(make):
    model = tiny()
    depthwise = np.ones((8, 1, 3, 3), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(depthwise, "depthwise"))
    added = [
        helper.make_node("Conv", ["positive", "depthwise"], ["apart"], name="apart", group=8, pads=[1] * 4),
        helper.make_node("Conv", ["apart", "head"], ["output"], name="head"),
    ]
    del model.graph.node[2:]
    model.graph.node.extend(added)
    assert int8.convert(model, [{"input": image()}]).not_quantised == ("head", "apart")


def test_int8_is_explicit_and_symmetric():
    model = tiny()
    converted = int8.convert(model, [{"input": image(seed)} for seed in range(3)])
    quantised = converted.model
    assert converted.not_quantised == (quantised.graph.node[-1].name,), "the classifier"
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantised.graph.initializer}
    steps = [node for node in quantised.graph.node if node.op_type == "QuantizeLinear"]
    assert steps
    assert all(not constants[node.input[2]].any() for node in steps)
    assert [entry.key for entry in quantised.metadata_props] == ["segplug.meta"]
    expected = logits_of(model)
    assert np.abs(expected - logits_of(quantised)).max() < 0.2 * np.ptp(expected)


@pytest.mark.parametrize("channels", [1, 4, 13])
@pytest.mark.parametrize(("convert", "most"), [(fp16.convert, 2e-2), (int8.convert, 0.2)])
def test_images_of_any_channels_and_scores_at_a_stride(channels, convert, most):
    model = tiny(("n", channels, "h", "w"), stride=4)
    batches = ([{"input": image(seed, channels)} for seed in range(3)],) if convert is int8.convert else ()
    converted = convert(model, *batches).model
    onnx.checker.check_model(converted, full_check=True)
    expected, actual = logits_of(model, channels), logits_of(converted, channels)
    assert actual.shape == expected.shape == (1, 4, 8, 12)
    assert 0 < np.abs(expected - actual).max() < most * np.ptp(expected)


@pytest.mark.parametrize("name", ["file", "input.1", "images/left"])
def test_int8_takes_inputs_of_any_name(name):
    model = tiny()
    model.graph.input[0].name = name
    for node in model.graph.node:
        for place, taken in enumerate(node.input):
            if taken == "input":
                node.input[place] = name
    quantised = int8.convert(model, [{name: image()}]).model
    assert "QuantizeLinear" in {node.op_type for node in quantised.graph.node}


def test_int8_holds_the_layers_outputs_of_one_batch_at_a_time(monkeypatch):
    """All at once took 16 GB for a network of 480x360 and 16 images."""
    from onnxruntime.quantization.calibrate import HistogramCalibrater

    batches = [{"input": image(seed)} for seed in range(3)]
    held = []
    collect = HistogramCalibrater.collect_data

    def watched(self, reader):
        given = list(iter(reader.get_next, None))
        held.append(given)
        collect(self, SimpleNamespace(get_next=iter([*given, None]).__next__))

    monkeypatch.setattr(HistogramCalibrater, "collect_data", watched)
    int8.convert(tiny(), iter(batches))
    assert [len(given) for given in held] == [1, 1, 1]
    for given, batch in zip(held, batches, strict=True):
        assert np.array_equal(given[0]["input"], batch["input"])


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
    source = make(preprocessing=usual_steps((0, 0, 0), (64, 64, 64)))
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


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_calibration_reads_images_as_the_model_does(channels, make, tmp_path):
    """16-bit bands of a TIFF, or grey of 8 bits: preprocessed with a mean and a std for each channel."""
    from segplug.runtime.preprocess import Preprocessor
    from segplug.runtime.reading import read_image

    kind, most = (np.uint8, 256) if channels == 1 else (np.uint16, 10_000)
    stored = np.random.default_rng(0).integers(0, most, (32, 48, channels)).astype(kind)
    path = tmp_path / ("image.png" if channels == 1 else "image.tif")
    write_image(path, stored)
    mean, std = np.arange(channels) * 100.0, np.arange(channels) + 500.0
    source = make(shape=("n", channels, "h", "w"), preprocessing=usual_steps(mean, std))
    meta = Segplug().read_meta(source)
    request = make_request(BuildEngineRequest, artifact=source, output=tmp_path / "m.engine", images=(path,))
    with QuietReporter().progress("calibrating", 1) as progress:
        (batch,) = calibration_batches(meta, "input", (-1, channels, -1, -1), request, 16, progress)
    expected = ((stored - mean.astype(np.float32)) / std.astype(np.float32)).transpose(2, 0, 1)[None]
    assert batch["input"].dtype == np.float32
    assert np.allclose(batch["input"], expected, atol=1e-4)
    assert np.array_equal(
        batch["input"][0], Preprocessor(meta)(read_image(path, meta.decoding), "image").array
    )


def write_image(path, stored):
    import cv2
    import tifffile

    if path.suffix == ".png":
        cv2.imwrite(str(path), stored)
    else:
        tifffile.imwrite(path, stored, planarconfig="contig")


def test_int8_needs_images(make):
    source = make()
    with pytest.raises(UsageError, match="--input-img"):
        Segplug().build_engine("tensorrt", source, output=source.with_suffix(".engine"), precision="int8")


AGREEMENT = {"fp16": 0.99, "int8": 0.85}
"""The least share of equal labels, near-ties included."""


@pytest.mark.parametrize(
    ("windows", "lefts"),
    [
        (Inference("slide", (16, 16), (16, 8)), (0, 8, 16, 24)),
        (Inference("slide", (16, 16), None, "even"), (0, 12, 24)),
    ],
)
def test_a_sliding_model_is_calibrated_on_its_windows(windows, lefts, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (16, 40, 3)).astype(np.uint8)
    np.save(tmp_path / "a.npy", picture)
    meta = ModelMeta("m", inference=windows)
    given = {"output": tmp_path / "m.engine", "images": (tmp_path / "a.npy",)}
    request = make_request(BuildEngineRequest, artifact=tmp_path / "m.onnx", **given)
    with QuietReporter().progress("calibrating", 1) as progress:
        batches = list(calibration_batches(meta, "input", (1, 3, 16, 16), request, 1, progress))
    planes = picture.transpose(2, 0, 1).astype(np.float32)
    expected = [planes[None, :, :, left : left + 16] for left in lefts]
    for batch, cut in zip(batches, expected, strict=True):
        assert np.array_equal(batch["input"], cut)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["fastscnn", "fcn_m-v2-d8", "fcn_m-v2-d8_slide", "pspnet_m-v2-d8", "deeplabv3plus_m-v2-d8"]
)
def test_scores_hold_on_real_weights(name, data_dir, tmp_path, monkeypatch):
    """Calibrated on frames of other drives than the scored ones."""
    monkeypatch.chdir(data_dir.parent)
    session = Segplug()
    config = data_dir / "models" / f"{name}_480x360_camvid.py"
    weights = data_dir / "models" / f"{name.removesuffix('_slide')}_480x360_camvid.pth"
    source = tmp_path / "fp32.onnx"
    model = session.load_model(config, checkpoint=weights)
    meta = session.export("onnx", model, output=source, dynamic=True, output_kind="logits").meta
    images = tuple(sorted((data_dir / "camvid_train" / "train").iterdir()))
    request = make_request(BuildEngineRequest, artifact=source, output=tmp_path / "m.engine", images=images)
    graph = onnx.load(source)
    with QuietReporter().progress("calibrating", 1) as progress:
        batches = calibration_batches(meta, "input", (-1, 3, -1, -1), request, 16, progress)
    onnx.save(fp16.convert(graph).model, tmp_path / "fp16.onnx")
    onnx.save(int8.convert(graph, batches).model, tmp_path / "int8.onnx")
    scores = {}
    for precision in ("fp32", "fp16", "int8"):
        report = session.evaluate(tmp_path / f"{precision}.onnx", backend="onnxruntime", dataset=config)
        assert report.scores is not None
        scores[precision] = report.scores.metrics["mIoU"]
    differences = []
    frames = sorted((data_dir / "camvid" / "test").glob("*.png"))[:2]
    for precision in ("fp16", "int8"):
        compared = session.verify(
            tmp_path / f"{precision}.onnx",
            source,
            images=frames,
            backend="onnxruntime",
            reference_backend="onnxruntime",
            precision=precision,  # type: ignore[arg-type]
        )
        assert compared.logits_compared
        assert compared.passed, compared.failures
        assert compared.label_agreement > AGREEMENT[precision]
        differences += [f"{compared.relative_difference:.4f}", f"{compared.label_agreement:.4f}"]
    # pytest -rP shows these rows of the table in the plugin's README.
    cells = [name, *(f"{score:.4f}" for score in scores.values()), *differences]
    print(f"| {' | '.join(cells)} |")
    assert abs(scores["fp16"] - scores["fp32"]) < 0.001
    assert abs(scores["int8"] - scores["fp32"]) < 0.01

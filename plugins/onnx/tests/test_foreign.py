"""ONNX files that segplug did not write: what is read from them, and what the user must state."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from segplug_onnx.engine import provider
from segplug_onnx.foreign import Options

from segplug.engine import Axis
from segplug.errors import ArtifactError, ShapeError, UsageError
from segplug.model import Resize
from segplug.options import build_options
from segplug.requests import InferRequest
from segplug.testing import make_request

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)}


@pytest.fixture
def foreign(tmp_path):
    """An engine for a graph that is given as text."""

    def open_graph(signature: str, body: str, **options):
        path = tmp_path / "foreign.onnx"
        text = f'<ir_version: 8, opset_import: ["": 18]> g {signature} {{ {body} }}'
        onnx.save(onnx.parser.parse_model(text), path)
        return provider.infer(
            make_request(InferRequest, artifact=path, threads=1, options=Options(**options))
        )

    return open_graph


def batch_of(height, width, count=1):
    return np.random.default_rng(1).uniform(size=(count, 3, height, width)).astype(np.float32)


def test_the_error_names_the_missing_options(foreign):
    with pytest.raises(UsageError) as caught:
        foreign("(float[1,3,8,8] x) => (float[1,3,8,8] y)", "y = Softmax<axis=1>(x)")
    text = str(caught.value)
    assert "--output-kind, --mean, --std" in text
    assert "x tensor(float) [1, 3, 8, 8]" in text
    assert "y tensor(float) [1, 3, 8, 8]" in text
    assert "\n" not in text


def test_probabilities_become_logits(foreign):
    engine = foreign(
        "(float[1,3,8,8] x) => (float[1,3,8,8] y)",
        "y = Softmax<axis=1>(x)",
        output_kind="probabilities",
        **PLAIN,
    )
    batch = batch_of(8, 8)
    logits = engine.run(batch)
    assert engine.spec.output == "logits"
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(odds, np.exp(batch) / np.exp(batch).sum(1, keepdims=True), rtol=1e-5)


def test_one_sigmoid_channel(foreign):
    engine = foreign(
        "(float[1,3,h,w] x) => (float[1,1,h,w] y)",
        "axes = Constant<value_ints=[1]>() m = ReduceMean<keepdims=1>(x, axes) y = Sigmoid(m)",
        output_kind="probabilities",
        threshold=0.7,
        classes=("ground", "flood"),
        **PLAIN,
    )
    batch = batch_of(6, 9)
    np.testing.assert_allclose(engine.run(batch), batch.mean(1, keepdims=True), atol=1e-5)
    meta = engine.spec.meta
    assert (meta.activation, meta.threshold, meta.num_classes) == ("sigmoid", 0.7, 2)


def test_probabilities_of_exactly_zero_and_one_stay_finite(foreign):
    engine = foreign(
        "(float[1,3,h,w] x) => (float[1,1,h,w] y)",
        "a = Constant<value_ints=[1]>() m = ReduceMean<keepdims=1>(x, a) y = Clip(m, lo, hi)".replace(
            "lo, hi", "z, o"
        ).replace("a = ", "z = Constant<value_float=0.0>() o = Constant<value_float=1.0>() a = ", 1),
        output_kind="probabilities",
        **PLAIN,
    )
    batch = np.concatenate([np.full((1, 3, 4, 4), -5), np.full((1, 3, 4, 4), 5)], axis=3).astype(np.float32)
    logits = engine.run(batch)
    assert np.isfinite(logits).all()
    assert (logits[..., :4] < -15).all()
    assert (logits[..., 4:] > 15).all()


def test_labels_need_classes(foreign):
    graph = ("(float[n,3,h,w] x) => (int64[n,1,h,w] y)", "y = ArgMax<axis=1>(x)")
    with pytest.raises(UsageError, match="--classes"):
        foreign(*graph, output_kind="labels", **PLAIN)
    engine = foreign(*graph, output_kind="labels", classes=("a", "b", "c"), **PLAIN)
    batch = batch_of(5, 7, count=2)
    assert np.array_equal(engine.run(batch), batch.argmax(1))
    assert (engine.spec.output, engine.spec.meta.out_channels) == ("labels", 3)
    assert engine.spec.batch == Axis()


def test_channels_last(foreign):
    engine = foreign("(float[1,8,6,3] x) => (float[1,8,6,3] y)", "y = Neg(x)", output_kind="logits", **PLAIN)
    batch = batch_of(8, 6)
    assert (engine.spec.height, engine.spec.width) == (Axis.fixed(8), Axis.fixed(6))
    np.testing.assert_array_equal(engine.run(batch), -batch)


def test_half_precision(foreign):
    engine = foreign(
        "(float16[1,3,8,6] x) => (float16[1,3,8,6] y)", "y = Neg(x)", output_kind="logits", **PLAIN
    )
    batch = batch_of(8, 6)
    logits = engine.run(batch)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, -batch, atol=1e-3)


def test_small_logits_are_resized_to_the_input(foreign):
    engine = foreign(
        "(float[1,3,8,12] x) => (float[1,3,4,6] y)",
        "y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)",
        output_kind="logits",
        **PLAIN,
    )
    import torch

    batch = batch_of(8, 12)
    pooled = torch.nn.functional.avg_pool2d(torch.from_numpy(batch), 2)
    expected = torch.nn.functional.interpolate(pooled, size=(8, 12), mode="bilinear")
    np.testing.assert_allclose(engine.run(batch), expected.numpy(), atol=1e-5)


def test_of_several_outputs_one_must_be_chosen(foreign):
    graph = ("(float[1,3,8,8] x) => (float[1,3,8,8] main, float[1,3,8,8] aux)", "main = Neg(x) aux = Abs(x)")
    with pytest.raises(UsageError, match="--output-name"):
        foreign(*graph, output_kind="logits", **PLAIN)
    with pytest.raises(UsageError, match="did you mean 'main'"):
        foreign(*graph, output_kind="logits", output_name="mian", **PLAIN)
    engine = foreign(*graph, output_kind="logits", output_name="main", **PLAIN)
    batch = batch_of(8, 8)
    np.testing.assert_array_equal(engine.run(batch), -batch)


def test_resize(foreign):
    graph = ("(float[1,3,h,w] x) => (float[1,3,h,w] y)", "y = Neg(x)")
    assert foreign(*graph, output_kind="logits", **PLAIN).spec.meta.resize is None
    given = foreign(*graph, output_kind="logits", resize=(64, 96), **PLAIN).spec.meta
    assert given.resize == Resize(scale=(96, 64))
    assert given.input_size == (64, 96)
    fixed = ("(float[1,3,8,12] x) => (float[1,3,8,12] y)", "y = Neg(x)")
    assert foreign(*fixed, output_kind="logits", **PLAIN).spec.meta.resize == Resize(scale=(12, 8))
    with pytest.raises(UsageError, match="--resize must be 8 12"):
        foreign(*fixed, output_kind="logits", resize=(64, 96), **PLAIN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ("a", "b")}, "--classes names 2 classes, but .* has 3"),
        ({"threshold": 0.5}, "one channel"),
        ({"std": (1.0, 0.0, 1.0)}, "--std must be above 0"),
        ({"std": (1.0, float("inf"), 1.0)}, "--std takes finite numbers, not 1.0 inf 1.0"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "--mean takes finite numbers"),
        ({"resize": (0, 8)}, "--resize takes two sizes in pixels, not 0 8"),
    ],
)
def test_options_that_contradict_the_file(foreign, options, message):
    with pytest.raises(UsageError, match=message):
        foreign(
            "(float[1,3,8,8] x) => (float[1,3,8,8] y)",
            "y = Neg(x)",
            output_kind="logits",
            **(PLAIN | options),
        )


@pytest.mark.parametrize(
    ("signature", "body", "message"),
    [
        ("(float[1,3,8,8] a, float[1] b) => (float[1,3,8,8] y)", "y = Add(a, b)", "takes 2 inputs"),
        ("(int64[1,5] x) => (int64[1,5] y)", "y = Identity(x)", "batch of float images"),
    ],
)
def test_files_that_are_not_segmentation_networks(foreign, signature, body, message):
    with pytest.raises(ArtifactError, match=message):
        foreign(signature, body, output_kind="logits", **PLAIN)


def test_an_output_that_is_not_a_label_map(foreign):
    engine = foreign(
        "(float[1,3,h,w] x) => (float[1,3,8] y)",
        "a = Constant<value_ints=[3]>() y = ReduceMean<keepdims=0>(x, a)",
        output_kind="labels",
        classes=("a", "b"),
        **PLAIN,
    )
    with pytest.raises(ArtifactError, match="not that of labels of 8x8"):
        engine.run(batch_of(8, 8))


def test_a_size_that_a_dynamic_graph_cannot_take(foreign):
    engine = foreign(
        "(float[1,3,h,w] x) => (float[1,3,h,w] y)",
        "s = Constant<value_ints=[1,3,8,8]>() y = Reshape(x, s)",
        output_kind="logits",
        **PLAIN,
    )
    with pytest.raises(ShapeError, match=r"\(1, 3, 9, 9\)"):
        engine.run(batch_of(9, 9))


# The training code of this network normalises to standard deviations and then divides by 255.
SINET = {
    "output_kind": "probabilities",
    "mean": (102.890434, 111.25247, 126.91212),
    "std": (62.93292 * 255, 62.82138 * 255, 66.355705 * 255),
    "channel_order": "bgr",
    "classes": ("background", "person"),
}


def portrait() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        pytest.skip("matplotlib, whose sample portrait is used, is not installed")
    path = Path(spec.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    return path


def test_a_real_portrait_network_finds_the_person(data_dir, capfd):
    """An old opset, weights listed as inputs, softmax at the end, no metadata."""
    import cv2

    path = data_dir / "onnx" / "SINet_Softmax.onnx"
    options = build_options(Options, SINET, owner="infer onnxruntime")
    engine = provider.infer(make_request(InferRequest, artifact=path, options=options))
    spec = engine.spec
    assert (spec.batch, spec.height, spec.width) == (Axis.fixed(1), Axis.fixed(320), Axis.fixed(320))
    assert spec.meta.resize == Resize(scale=(320, 320))
    image = cv2.resize(cv2.imread(str(portrait())), (320, 320)).astype(np.float32)
    normal = (image - np.float32(spec.meta.mean)) / np.float32(spec.meta.std)
    labels = engine.run(np.ascontiguousarray(normal.transpose(2, 0, 1)[None])).argmax(1)[0]
    assert labels[100:180, 120:210].mean() > 0.98  # the face
    assert labels[220:, 60:260].mean() > 0.98  # the uniform
    assert labels[:90, 250:].mean() < 0.02  # the wall at the right
    assert labels[:120, :80].mean() < 0.02  # the flag at the left
    assert capfd.readouterr().err == ""

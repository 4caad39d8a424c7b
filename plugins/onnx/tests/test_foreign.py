"""ONNX files that segplug did not write: what is read from them, and what the user must state."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from segplug_onnx.engine import provider
from segplug_onnx.foreign import Options
from segplug_onnx.tensors import Tensors

from segplug.engine import Axis
from segplug.errors import ArtifactError, ShapeError, UsageError
from segplug.options import build_options
from segplug.preprocessing import ChannelOrder, Decoding, Normalize, Resize, find_steps
from segplug.requests import InferRequest
from segplug.runtime.segment import Segmenter
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


def batch_of(height, width, count=1, channels=3):
    return np.random.default_rng(1).uniform(size=(count, channels, height, width)).astype(np.float32)


def test_the_error_names_the_missing_options(foreign):
    with pytest.raises(UsageError) as caught:
        foreign("(float[1,3,8,8] x) => (float[1,3,8,8] y)", "y = Softmax<axis=1>(x)")
    text = str(caught.value)
    assert "--output-kind, --mean, --std" in text
    assert "x tensor(float) [1, 3, 8, 8]" in text
    assert "y tensor(float) [1, 3, 8, 8]" in text
    assert "--backend-options output_kind=logits mean=128 std=60" in text
    assert "\n" not in text


def test_probabilities_stay_what_they_are(foreign):
    engine = foreign(
        "(float[1,3,8,8] x) => (float[1,3,8,8] y)",
        "y = Softmax<axis=1>(x)",
        output_kind="probabilities",
        **PLAIN,
    )
    batch = batch_of(8, 8)
    probabilities = engine.run(batch)
    assert (engine.spec.output, engine.spec.meta.scores) == ("logits", "probabilities")
    expected = np.exp(batch) / np.exp(batch).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


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
    expected = 1 / (1 + np.exp(-batch.mean(1, keepdims=True)))
    np.testing.assert_allclose(engine.run(batch), expected, atol=1e-5)
    meta = engine.spec.meta
    assert (meta.scores, meta.activation, meta.threshold) == ("probabilities", "sigmoid", 0.7)
    assert meta.num_classes == 2


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
@pytest.mark.parametrize("threshold", [None, 0.8])
def test_several_sigmoids_give_bit_masks(foreign, kind, threshold):
    last = {"probabilities": "y = Sigmoid(x)", "logits": "y = Identity(x)"}[kind]
    engine = foreign(
        "(float[1,3,h,w] x) => (float[1,3,h,w] y)",
        last,
        output_kind=kind,
        multilabel=True,
        threshold=threshold,
        classes=("a", "b", "c"),
        mean=(127.5,),
        std=(20.0,),
    )
    assert engine.spec.meta.multilabel
    image = np.random.default_rng(2).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    (found,) = Segmenter(engine)([image])
    logits = (image[:, :, ::-1].astype(np.float64) - 127.5) / 20
    there = 1 / (1 + np.exp(-logits)) > (threshold or 0.5)
    assert np.array_equal(found.labels, there @ [1, 2, 4])


def test_several_sigmoids_need_scores_of_several_classes(foreign):
    with pytest.raises(UsageError, match=r"--multilabel is for scores of several .* has one channel"):
        foreign(
            "(float[1,3,h,w] x) => (float[1,1,h,w] y)",
            "axes = Constant<value_ints=[1]>() y = ReduceMean<keepdims=1>(x, axes)",
            output_kind="logits",
            multilabel=True,
            **PLAIN,
        )
    with pytest.raises(UsageError, match=r"--multilabel is for scores of several .* has labels"):
        foreign(
            "(float[1,3,h,w] x) => (int64[1,1,h,w] y)",
            "axes = Constant<value_ints=[1]>() y = ArgMax<axis=1>(x)",
            output_kind="labels",
            multilabel=True,
            classes=("a", "b", "c"),
            **PLAIN,
        )


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_the_threshold_is_one_of_probabilities(foreign, kind):
    """The same network, with and without its sigmoid, gives the same labels."""
    last = {"probabilities": "y = Sigmoid(s)", "logits": "y = Identity(s)"}[kind]
    engine = foreign(
        "(float[1,3,h,w] x) => (float[1,1,h,w] y)",
        f"axes = Constant<value_ints=[1]>() s = ReduceMean<keepdims=1>(x, axes) {last}",
        output_kind=kind,
        threshold=0.8,
        classes=("flood",),
        mean=(127.5,),
        std=(20.0,),
    )
    image = np.random.default_rng(2).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    (labels,) = (found.labels for found in Segmenter(engine)([image]))
    scores = (image.astype(np.float64).mean(2) - 127.5) / 20
    assert 0 < labels.mean() < 1
    assert np.array_equal(labels, 1 / (1 + np.exp(-scores)) > 0.8)
    assert engine.spec.meta.label_names == ("background", "flood")


def test_labels_need_classes(foreign):
    graph = ("(float[n,3,h,w] x) => (int64[n,1,h,w] y)", "y = ArgMax<axis=1>(x)")
    with pytest.raises(UsageError, match="--classes"):
        foreign(*graph, output_kind="labels", **PLAIN)
    with pytest.raises(UsageError, match=r"output y of .* is tensor\(int64\).*--output-kind labels"):
        foreign(*graph, output_kind="logits", **PLAIN)
    engine = foreign(*graph, output_kind="labels", classes=("a", "b", "c"), **PLAIN)
    batch = batch_of(5, 7, count=2)
    assert np.array_equal(engine.run(batch), batch.argmax(1))
    assert (engine.spec.output, engine.spec.meta.out_channels) == ("labels", 3)
    assert engine.spec.batch == Axis()
    one = foreign(*graph, output_kind="labels", classes=("a",), **PLAIN).spec.meta
    assert (one.out_channels, one.num_labels) == (1, 2)


def test_a_number_of_classes(foreign):
    graph = ("(float[n,3,h,w] x) => (int64[n,h,w] y)", "a = ArgMax<axis=1, keepdims=0>(x) y = Identity(a)")
    classes = foreign(*graph, output_kind="labels", classes=("3",), **PLAIN).spec.meta.classes
    assert classes == ("class 0", "class 1", "class 2")
    graph = ("(float[1,3,8,8] x) => (float[1,3,8,8] y)", "y = Neg(x)")
    unnamed = foreign(*graph, output_kind="logits", **PLAIN).spec.meta.classes
    assert (
        unnamed == classes == foreign(*graph, output_kind="logits", classes=("3",), **PLAIN).spec.meta.classes
    )
    with pytest.raises(UsageError, match=r"--classes names 4 classes, but .* has 3"):
        foreign(*graph, output_kind="logits", classes=("4",), **PLAIN)


@pytest.mark.parametrize(
    ("shape", "classes"), [("1,3,8,6", ("a", "b", "c")), ("1,3,8,6", ("3",)), ("1,8,6,3", ("3",))]
)
def test_scores_that_are_described_as_labels(foreign, shape, classes):
    graph = (f"(float[{shape}] x) => (float[{shape}] y)", "y = Neg(x)")
    with pytest.raises(
        UsageError, match=r"output y of .* has 3 channels of floats: these are scores \(--output-kind logits"
    ):
        foreign(*graph, output_kind="labels", classes=classes, **PLAIN)


def test_scores_whose_shape_the_file_does_not_show():
    labels = Tensors("x", "y", labels=True)
    with pytest.raises(ArtifactError, match=r"has shape \(1, 3, 8, 6\), .* scores: --output-kind logits"):
        labels.from_output(np.zeros((1, 3, 8, 6), np.float32), (8, 6))
    for shape in ((2, 8, 6), (2, 1, 8, 6), (2, 8, 6, 1)):
        assert labels.from_output(np.zeros(shape, np.float32), (8, 6)).shape == (2, 8, 6)


def test_channels_last(foreign):
    engine = foreign("(float[1,8,6,3] x) => (float[1,8,6,3] y)", "y = Neg(x)", output_kind="logits", **PLAIN)
    batch = batch_of(8, 6)
    assert (engine.spec.height, engine.spec.width) == (Axis.fixed(8), Axis.fixed(6))
    np.testing.assert_array_equal(engine.run(batch), -batch)


@pytest.mark.parametrize(
    ("shape", "given", "channels", "last"),
    [
        ("1,1,8,8", {}, 1, False),
        ("n,13,h,w", {}, 13, False),
        ("n,h,w,13", {}, 13, True),
        ("1,4,16,12", {}, 4, False),
        ("1,16,12,4", {}, 4, True),
        ("1,6,8,w", {}, 6, False),
        ("n,c,h,w", {"in_channels": 5, "layout": "nchw"}, 5, False),
        ("n,c,h,w", {"mean": (1.0, 2.0), "layout": "nhwc"}, 2, True),
        ("1,8,8,8", {"layout": "nchw"}, 8, False),
        ("1,16,8,8", {"std": (1.0,) * 16}, 16, False),
        ("1,8,8,16", {"in_channels": 16}, 16, True),
    ],
)
def test_the_channels_of_the_input(foreign, shape, given, channels, last):
    options = {"mean": (0.0,), "std": (1.0,), "classes": (str(channels),), **given}
    if channels == 1:
        del options["classes"]
    engine = foreign(
        f"(float[{shape}] x) => (float[{shape}] y)", "y = Neg(x)", output_kind="logits", **options
    )
    meta = engine.spec.meta
    assert (meta.in_channels, meta.out_channels) == (channels, channels)
    assert meta.decoding == Decoding.for_channels(channels)
    (norm,) = meta.preprocessing[-1:]
    assert (len(norm.mean), len(norm.std)) == (channels, channels)
    sizes = [int(size) if size.isdecimal() else 8 for size in shape.split(",")]
    height, width = sizes[1:3] if last else sizes[2:]
    batch = batch_of(height, width, channels=channels)
    np.testing.assert_array_equal(engine.run(batch), -batch)


@pytest.mark.parametrize("shape", ["n,c,h,w", "1,8,8,8", "1,c,4,8"])
def test_channels_that_no_shape_shows_are_asked_for(foreign, shape):
    graph = (f"(float[{shape}] x) => (float[{shape}] y)", "y = Neg(x)")
    given = {"mean": (0.0,), "std": (1.0,), "output_kind": "logits"}
    with pytest.raises(UsageError, match=r"describe its input and output with (--in-channels|--classes, )"):
        foreign(*graph, **given)


def test_channels_that_contradict_the_file(foreign):
    graph = ("(float[1,3,8,8] x) => (float[1,3,8,8] y)", "y = Neg(x)")
    with pytest.raises(
        UsageError, match=r"--in-channels is 4, but the input x of .* has shape \[1, 3, 8, 8\]"
    ):
        foreign(*graph, output_kind="logits", in_channels=4, **PLAIN)


def test_how_files_are_read(foreign):
    graph = ("(float[1,3,8,8] x) => (float[1,3,8,8] y)", "y = Neg(x)")
    meta = foreign(*graph, output_kind="logits", **PLAIN).spec.meta
    assert (meta.decoding, meta.preprocessing[1]) == (Decoding(), ChannelOrder())
    meta = foreign(*graph, output_kind="logits", channel_order="bgr", **PLAIN).spec.meta
    assert find_steps(meta.preprocessing, ChannelOrder) == []
    meta = foreign(*graph, output_kind="logits", decoding="bands", **PLAIN).spec.meta
    assert meta.decoding == Decoding(library="bands", color="unchanged")
    assert find_steps(meta.preprocessing, ChannelOrder) == []


def test_half_precision(foreign):
    engine = foreign(
        "(float16[1,3,8,6] x) => (float16[1,3,8,6] y)", "y = Neg(x)", output_kind="logits", **PLAIN
    )
    batch = batch_of(8, 6)
    logits = engine.run(batch)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, -batch, atol=1e-3)


POOLED = "y = AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)"


@pytest.mark.parametrize(
    "signature",
    [
        "(float[1,3,8,12] x) => (float[1,3,4,6] y)",
        "(float[1,3,8,12] x) => (float[1,3,p,q] y)",
        "(float[n,3,h,w] x) => (float[n,3,p,q] y)",
        "(float[n,3,8,w] x) => (float[n,3,4,q] y)",
    ],
)
def test_scores_at_a_stride(foreign, signature):
    engine = foreign(signature, POOLED, output_kind="logits", **PLAIN)
    assert engine.spec.meta.output_stride == 2
    batch = batch_of(8, 12)
    expected = batch.reshape(1, 3, 4, 2, 6, 2).mean((3, 5))
    np.testing.assert_allclose(engine.run(batch), expected, atol=1e-5)


def test_scores_at_a_stride_are_resized_once_to_the_image(foreign):
    import torch

    signature = "(float[1,3,h,w] x) => (float[1,3,p,q] y)"
    engine = foreign(signature, POOLED, output_kind="logits", mean=(0.0,), std=(25.0,))
    image = np.random.default_rng(2).integers(0, 256, (18, 25, 3)).astype(np.uint8)
    (labels,) = (found.labels for found in Segmenter(engine)([image]))
    rgb = torch.from_numpy(image[..., ::-1].transpose(2, 0, 1)[None] / np.float32(25))
    pooled = torch.nn.functional.avg_pool2d(rgb, 2, ceil_mode=True)
    expected = torch.nn.functional.interpolate(pooled, size=(18, 25), mode="bilinear").argmax(1)[0]
    assert (labels != expected.numpy()).mean() < 0.005


@pytest.mark.parametrize(
    ("signature", "body", "size"),
    [
        # 6 rows for 8, and 12 columns for 12
        (
            "(float[1,3,8,12] x) => (float[1,3,6,12] y)",
            "b = Constant<value_ints=[1]>() e = Constant<value_ints=[7]>() a = Constant<value_ints=[2]>() "
            "y = Slice(x, b, e, a)",
            (6, 12),
        ),
        # rounded down where the size is odd
        (
            "(float[1,3,h,w] x) => (float[1,3,p,q] y)",
            "y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)",
            (4, 6),
        ),
    ],
)
def test_scores_without_a_stride_are_resized_to_the_input(foreign, signature, body, size):
    import torch

    engine = foreign(signature, body, output_kind="logits", **PLAIN)
    assert engine.spec.meta.output_stride == 1
    batch = batch_of(8, 12)
    small = batch[:, :, 1:7] if size == (6, 12) else batch.reshape(1, 3, 4, 2, 6, 2).mean((3, 5))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(small)), size=(8, 12), mode="bilinear"
    )
    np.testing.assert_allclose(engine.run(batch), expected.numpy(), atol=1e-5)


def test_a_graph_that_takes_no_size_that_is_tried_has_no_stride(foreign):
    engine = foreign(
        "(float[1,3,h,w] x) => (float[1,3,p,q] y)",
        "s = Constant<value_ints=[1,3,8,8]>() y = Reshape(x, s)",
        output_kind="logits",
        **PLAIN,
    )
    assert engine.spec.meta.output_stride == 1
    assert engine.run(batch_of(8, 8)).shape == (1, 3, 8, 8)


def test_a_size_at_which_scores_leave_their_stride(foreign):
    """The first 40 rows alone: up to 512 all sizes that are tried have their stride."""
    engine = foreign(
        "(float[1,3,h,w] x) => (float[1,3,p,q] y)",
        "b = Constant<value_ints=[0]>() e = Constant<value_ints=[66]>() a = Constant<value_ints=[2]>() "
        "y = Slice(x, b, e, a)",
        output_kind="logits",
        **PLAIN,
    )
    assert engine.spec.meta.output_stride == 1
    with pytest.raises(
        ShapeError, match=r"cannot take images of 80x8: its output y has shape \(1, 3, 66, 8\)"
    ):
        engine.run(batch_of(80, 8))


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
    norm = Normalize((0.0,) * 3, (255.0,) * 3)
    meta = foreign(*graph, output_kind="logits", **PLAIN).spec.meta
    assert meta.preprocessing == (ChannelOrder(), norm)
    given = foreign(*graph, output_kind="logits", resize=(64, 96), **PLAIN).spec.meta
    assert given.preprocessing == (Resize(scale=(96, 64)), ChannelOrder(), norm)
    assert given.input_size == (64, 96)
    fixed = ("(float[1,3,8,12] x) => (float[1,3,8,12] y)", "y = Neg(x)")
    meta = foreign(*fixed, output_kind="logits", **PLAIN).spec.meta
    assert meta.preprocessing[0] == Resize(scale=(12, 8))
    with pytest.raises(UsageError, match="--resize must be 8 12"):
        foreign(*fixed, output_kind="logits", resize=(64, 96), **PLAIN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ("a", "b")}, "--classes names 2 classes, but .* has 3"),
        ({"threshold": 0.5}, "one channel"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be above 0"),
        ({"std": (1.0, float("inf"), 1.0)}, "std takes finite numbers, not 1 inf 1"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "mean takes finite numbers"),
        ({"mean": (0.0, 0.0)}, "mean has 2 values, and the network takes 3 channels"),
        ({"decoding": "grayscale"}, "takes 3 channels, and decoding 'grayscale' gives 1 channel"),
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
    assert spec.meta.output_stride == 1
    resize, norm = spec.meta.preprocessing
    assert resize == Resize(scale=(320, 320))
    image = cv2.resize(cv2.imread(str(portrait())), (320, 320)).astype(np.float32)
    normal = (image - np.float32(norm.mean)) / np.float32(norm.std)
    labels = engine.run(np.ascontiguousarray(normal.transpose(2, 0, 1)[None])).argmax(1)[0]
    assert labels[100:180, 120:210].mean() > 0.98  # the face
    assert labels[220:, 60:260].mean() > 0.98  # the uniform
    assert labels[:90, 250:].mean() < 0.02  # the wall at the right
    assert labels[:120, :80].mean() < 0.02  # the flag at the left
    assert capfd.readouterr().err == ""

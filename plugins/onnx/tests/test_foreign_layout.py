"""The layout of foreign ONNX files whose input has no fixed axis."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from segplug_onnx.engine import provider
from segplug_onnx.foreign import Options

from segplug.errors import UsageError
from segplug.requests import InferRequest
from segplug.testing import make_request

FREE = "float[n,h,w,c]"
SUM = "a = Constant<value_ints=[{axis}]>() s = ReduceSum<keepdims=1>(x, a) "
"""The sum of the channels: a graph that runs in both layouts."""


@pytest.fixture
def foreign(tmp_path):
    """An engine for a graph that is given as text."""

    def open_graph(body: str, *, shape: str = FREE, result: str = "float[n,p,q,k]", **options):
        path = tmp_path / "foreign.onnx"
        text = f'<ir_version: 8, opset_import: ["": 18]> g ({shape} x) => ({result} y) {{ {body} }}'
        onnx.save(onnx.parser.parse_model(text), path)
        given = {"mean": (0.0,), "std": (1.0,), "in_channels": 3, "output_kind": "logits", "classes": ("2",)}
        options = Options(**{**given, **options})
        return provider.infer(make_request(InferRequest, artifact=path, threads=1, options=options))

    return open_graph


def convolution(last: bool) -> str:
    """Two classes from three channels; runs in one layout only."""
    weights = "k = Constant<value_floats=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]>() "
    weights += "s = Constant<value_ints=[2, 3, 1, 1]>() w = Reshape(k, s) "
    if not last:
        return weights + "y = Conv(x, w)"
    return weights + "t = Transpose<perm=[0,3,1,2]>(x) u = Conv(t, w) y = Transpose<perm=[0,2,3,1]>(u)"


def images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).uniform(size=(1, channels, 6, 9)).astype(np.float32)


@pytest.mark.parametrize("last", [False, True])
def test_the_layout_in_which_the_graph_runs(foreign, last):
    batch = images()
    np.testing.assert_allclose(foreign(convolution(last)).run(batch), batch[:, :2], atol=1e-6)


@pytest.mark.parametrize("last", [False, True])
def test_of_two_layouts_that_run_the_one_whose_output_has_the_size_of_the_image(foreign, last):
    axis = 3 if last else 1
    body = SUM.format(axis=axis) + f"d = Neg(s) y = Concat<axis={axis}>(s, d)"
    batch = images()
    total = batch.sum(1, keepdims=True)
    expected = np.concatenate([total, -total], 1)
    np.testing.assert_allclose(foreign(body).run(batch), expected, atol=1e-5)
    body = f"y = ArgMax<axis={axis}, keepdims=0>(x)"
    labels = foreign(body, result="int64[n,p,q]", output_kind="labels", classes=("3",))
    assert np.array_equal(labels.run(batch), batch.argmax(1))


def test_an_axis_of_known_channels_settles_it(foreign):
    engine = foreign("y = Neg(x)", shape="float[n,h,w,3]", classes=("3",))
    np.testing.assert_array_equal(engine.run(images()), -images())


def test_a_layout_that_nothing_shows_is_asked_for(foreign):
    with pytest.raises(UsageError, match=r"NCHW or NHWC, and both of them run .*--layout nchw or --layout"):
        foreign("y = Neg(x)", classes=("3",))
    refused = "s = Constant<value_ints=[1,3,5,5]>() y = Reshape(x, s)"
    with pytest.raises(UsageError, match=r"neither of them runs on a black image \(--layout"):
        foreign(refused, classes=("3",))
    for layout in ("nchw", "nhwc"):
        engine = foreign("y = Neg(x)", classes=("3",), layout=layout)
        np.testing.assert_array_equal(engine.run(images()), -images())
    with pytest.raises(UsageError, match="--in-channels is 3 and --layout nchw, but the input x of"):
        foreign("y = Neg(x)", shape="float[1,8,8,3]", layout="nchw")

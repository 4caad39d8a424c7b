"""Weights that are NaN in a file that gives labels, which would be class 0 without a word."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from segplug_onnx.undefined import refuse_undefined

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import NonfiniteError
from segplug.runtime.segment import Segmenter

TYPES = {
    "float": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "double": TensorProto.DOUBLE,
    "bfloat16": TensorProto.BFLOAT16,
}


def _save(path, *tensors):
    graph = helper.make_graph([], "g", [], [], list(tensors))
    onnx.save(helper.make_model(graph), path)
    return path


def _tensor(name, kind, values, *, raw):
    if kind == "bfloat16":
        bits = (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return helper.make_tensor(name, TYPES[kind], [len(values)], bits.tobytes(), raw=True)
    array = np.asarray(values, {"float": np.float32, "float16": np.float16, "double": np.float64}[kind])
    if raw:
        return numpy_helper.from_array(array, name)
    return helper.make_tensor(name, TYPES[kind], array.shape, array)


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("kind", TYPES)
def test_each_type_of_weights(tmp_path, kind, raw):
    if kind == "float16" and not raw:
        pytest.skip(
            "numbers of 16 bits are stored one by one in a field of whole numbers, which no exporter uses"
        )
    sound = _tensor("sound", kind, [1, 2, 3], raw=raw)
    mask = _tensor("mask", kind, [1, -np.inf, np.inf], raw=raw)
    refuse_undefined(_save(tmp_path / "a.onnx", sound, mask))
    bad = _tensor("bad", kind, [1, np.nan, 3, np.nan], raw=raw)
    with pytest.raises(NonfiniteError, match=r"hold NaN, 2 values in 1 tensor: bad \(2\)"):
        refuse_undefined(_save(tmp_path / "b.onnx", sound, bad, mask))


def test_what_is_not_a_number_of_that_kind_is_left_alone(tmp_path):
    whole = numpy_helper.from_array(np.full(8, -1, np.int64), "whole")
    empty = numpy_helper.from_array(np.zeros((0, 3), np.float32), "empty")
    refuse_undefined(_save(tmp_path / "a.onnx", whole, empty))


@pytest.fixture
def sick(model_of):
    """A network whose first weight is NaN."""
    model = model_of()
    with torch.no_grad():
        model.module.head[1].weight[0, 0] = float("nan")
    return model


def test_a_file_of_labels_is_refused_unless_that_is_allowed(export, sick, tmp_path, capsys):
    path = export(sick, tmp_path / "labels.onnx", output_kind="labels").path
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 48, 3), np.uint8))
    command = ["run", "infer", "onnxruntime", str(path), "--input-img", str(tmp_path / "a.png")]
    command += ["--show-dir", str(tmp_path / "shown")]
    assert run_command_line(command) == 1
    said = capsys.readouterr().err
    assert f"the weights in {path} hold NaN, 1 value in 1 tensor" in said
    assert not (tmp_path / "shown").exists()
    assert run_command_line([*command, "--allow-nonfinite"]) == 0
    with Segplug().open(path, backend="onnxruntime", want_logits=True) as engine:
        assert engine.spec.output == "logits", "a verification reads the scores themselves"


def test_a_file_of_scores_is_opened_and_its_scores_are_checked(export, sick, tmp_path):
    path = export(sick, tmp_path / "scores.onnx", output_kind="logits").path
    with Segplug().open(path, backend="onnxruntime") as engine:
        (found,) = Segmenter(engine)([np.zeros((32, 48, 3), np.uint8)])
    assert isinstance(found, NonfiniteError)

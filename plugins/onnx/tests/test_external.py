"""The files of weights beside an ONNX file are found without reading the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from segplug_onnx.external import external_files

from segplug.errors import ArtifactError


def weights(name: str) -> TensorProto:
    return numpy_helper.from_array(np.zeros((4, 4), np.float32), name)


def model() -> onnx.ModelProto:
    """Weights in the graph, in a node's attribute, and in an inner graph."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["out"])],
        "branch",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [4, 4])],
        [weights("inner")],
    )
    nodes = [
        helper.make_node("Constant", [], ["constant"], value=weights("value")),
        helper.make_node("If", ["condition"], ["out"], then_branch=branch, else_branch=branch),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("condition", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [4, 4])],
        [weights("outer")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def store_outside(tensor: TensorProto, location: str) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    tensor.ClearField("raw_data")


def test_a_model_in_one_file_has_none(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "m.onnx")
    assert external_files(tmp_path / "m.onnx") == ()


def test_files_are_found_wherever_the_graph_names_them(tmp_path: Path) -> None:
    proto = model()
    store_outside(proto.graph.initializer[0], "outer.bin")
    store_outside(proto.graph.node[0].attribute[0].t, "folder/value.bin")
    store_outside(proto.graph.node[1].attribute[0].g.initializer[0], "inner.bin")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    found = [file.relative_to(tmp_path).as_posix() for file in external_files(tmp_path / "m.onnx")]
    assert found == ["folder/value.bin", "inner.bin", "outer.bin"]


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret", "a/../../b"])
def test_weights_in_other_folders_are_refused(tmp_path: Path, location: str) -> None:
    proto = model()
    store_outside(proto.graph.initializer[0], location)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ArtifactError, match="outside of its folder"):
        external_files(tmp_path / "m.onnx")


def test_a_file_that_is_not_onnx(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model at all")
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        external_files(tmp_path / "m.onnx")

"""What an ONNX file says of itself, read without onnx and without its weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from segplug_onnx.description import describe

from segplug.description import FileDescription
from segplug.errors import ArtifactError
from segplug.results import Artifact


def save(path: Path, signature: str, body: str, opsets: str = '"": 18') -> Path:
    text = f'<ir_version: 8, opset_import: [{opsets}], producer_name: "tool", producer_version: "2.1"> g '
    onnx.save(onnx.parser.parse_model(f"{text}{signature} {{ {body} }}"), path)
    return path


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Free axes, weights that are listed as inputs, an operator of another set, labels as second output."""
    signature = (
        "(float[batch, 3, height, 64] image, float[4, 3, 1, 1] weight = "
        "{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}) "
        "=> (float[batch, 4, height, 64] scores, int64[batch, height, 64] labels)"
    )
    body = (
        "features = Conv(image, weight)\nraw = com.tool.Gate(features)\n"
        "soft = Softmax <axis = 1> (raw)\nscores = Identity(soft)\n"
        "labels = ArgMax <axis = 1, keepdims = 0> (raw)"
    )
    return save(tmp_path / "foreign.onnx", signature, body, '"": 18, "com.tool": 3')


def shapes(description: FileDescription) -> list[tuple[str, str, str]]:
    return [(one.name, one.type, one.shape) for one in (*description.inputs, *description.outputs)]


def test_a_file_of_another_tool(foreign: Path) -> None:
    found = describe(foreign, described=False)
    assert shapes(found) == [
        ("image", "float32", "batch x 3 x height x 64"),
        ("scores", "float32", "batch x 4 x height x 64"),
        ("labels", "int64", "batch x height x 64"),
    ]
    assert found.details == {
        "producer": "tool 2.1",
        "opset": 18,
        "operators of other sets": {"com.tool": 3},
        "IR version": 8,
        "values in weights": 12,
        "operators": {"Conv": 1, "Gate": 1, "Softmax": 1, "Identity": 1, "ArgMax": 1},
    }
    (command,) = found.next
    assert "--output-name scores --output-kind probabilities" in command


def test_inputs_and_outputs_are_those_that_onnx_reads(
    foreign: Path, static_labels: Artifact, dynamic_labels: Artifact
) -> None:
    for path in (foreign, static_labels.path, dynamic_labels.path):
        graph = onnx.load(path, load_external_data=False).graph
        weights = {tensor.name for tensor in graph.initializer}
        expected = [
            (value.name, [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim])
            for value in (*graph.input, *graph.output)
            if value.name not in weights
        ]
        found = describe(path, described=True)
        assert found.next == ()
        assert [
            (one.name, [axis.sizes.minimum if axis.sizes.is_fixed else axis.name for axis in one.axes or ()])
            for one in (*found.inputs, *found.outputs)
        ] == expected


@pytest.mark.parametrize("output", ["float[1] y", "float y", "int64[2, 2] y"])
def test_other_shapes(tmp_path: Path, output: str) -> None:
    path = save(tmp_path / "m.onnx", f"(float[1] x) => ({output})", "y = Foo(x)")
    assert describe(path, described=False).outputs[0].shape in ("1", "one value", "2 x 2")


def test_a_file_that_was_cut(foreign: Path) -> None:
    foreign.write_bytes(foreign.read_bytes()[:-7])
    with pytest.raises(ArtifactError, match="was cut"):
        describe(foreign, described=False)


def test_no_library_is_needed(foreign: Path) -> None:
    code = (
        "import sys; from segplug_onnx.exporter import provider; from pathlib import Path\n"
        "assert provider.describe(Path(sys.argv[1])).inputs\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(foreign)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

"""ONNX files whose metadata has wrong types, or is no text at all: every command says so in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper
from segplug_onnx.wire import bytes_field

from segplug.cli.root import run_command_line
from segplug.model import META_ENTRY, ModelMeta

COMMANDS = [
    "infer onnxruntime m.onnx --input-img a.png --out out.npz",
    "export triton m.onnx --output-folder out",
    "export torchserve m.onnx --output-folder out",
    "analyze flops m.onnx",
    "analyze benchmark m.onnx --runs 1 --warmup 0",
]
MODEL_PROPERTY, KEY, VALUE = 14, 1, 2
"""Field numbers of onnx.proto."""


def changed(**changes: Any) -> bytes:
    return json.dumps(ModelMeta("m", classes=("a", "b", "c")).to_dict() | changes).encode()


REFUSED = {
    "no UTF-8": b"\xff\xfe",
    "no JSON": b"{",
    "a list": b"[]",
    "many channels": changed(in_channels=10_000_000),
    "a huge size": changed(input_size=[10**9, 10**9]),
    "a huge number": changed(in_channels=10**40),
    "NaN": changed(threshold=float("nan")),
    "a list for an object": changed(extra=[]),
    "an object for a list": changed(preprocessing={"step": "resize"}),
    "nested deep": b'{"name":' + b"[" * 5000,
    "nested": changed(extra={"a": json.loads("[" * 200 + "]" * 200)}),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_model(path: Path, metadata: bytes) -> None:
    image, scores = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("input", "output")
    )
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "g", [image], [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    entry = bytes_field(KEY, META_ENTRY.encode()) + bytes_field(VALUE, metadata)
    path.write_bytes(bytes_field(MODEL_PROPERTY, entry) + model.SerializeToString())


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.parametrize("what", REFUSED)
def test_wrong_metadata_is_one_line(
    home: Path, what: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(home / "m.onnx", REFUSED[what])
    code = run_command_line(["run", *line.split()])
    shown = capsys.readouterr().err
    assert code == 1, shown
    assert "Traceback" not in shown
    last = shown.strip().rpartition("\n")[2]
    assert last.startswith("error: ")
    assert "m.onnx" in last
    assert "metadata" in last
    assert not (home / "out").exists()


@pytest.mark.parametrize("extra", [{"onnx": [1]}, {"onnx": {"logits": 5, "output_kind": "labels"}}])
def test_wrong_data_of_the_plugin_is_one_line(
    home: Path, extra: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write_model(home / "m.onnx", changed(extra=extra))
    assert run_command_line(["run", *COMMANDS[0].split()]) == 1
    assert "error: m.onnx: the model metadata" in capsys.readouterr().err

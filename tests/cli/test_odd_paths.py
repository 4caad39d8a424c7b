"""Paths that the system takes for no file's, and arguments of thousands of characters: one line each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from segplug.cli.root import run_command_line

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and names of POSIX")

COMMANDS = (
    "run convert_weights publish {path}.pth out.pth",
    "run convert_weights publish w.pth {path}.pth",
    "run export onnx {path}.py --output out.onnx",
    "run export onnx c.py --checkpoint {path}.pth --output out.onnx",
    "run export onnx c.py --output {path}.onnx",
    "run export triton {path}.onnx --output-folder out",
    "run export triton m.onnx --output-folder {path}",
    "run infer onnxruntime {path}.onnx --input-img a.png --out out.npz",
    "run infer onnxruntime m.onnx --input-img {path}.png --out out.npz",
    "run infer onnxruntime m.onnx --dataset {path} --eval mIoU",
    "run infer onnxruntime m.onnx --input-img a.png --show-dir {path}",
    "run analyze logs {path}.json",
    "run analyze logs w.pth --html {path}.html",
    "run analyze confusion {path}.npz --dataset images",
    "run analyze benchmark {path}.py m.onnx",
    "run analyze parity {path}.py w.pth",
    "predict {path}.onnx a.png",
    "predict m.onnx {path}.png",
    "predict m.onnx a.png --output {path}",
    "serve {path}.onnx --port 0",
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m.onnx", "w.pth", "a.png"):
        Path(name).write_bytes(b"no such format")
    Path("c.py").write_text("model = dict(type='EncoderDecoder')\n")
    Path("images").mkdir()
    for suffix in ("", ".py", ".pth", ".onnx", ".html", ".png", ".json", ".npz"):
        Path(f"loop{suffix}").symlink_to(f"loop{suffix}")


@pytest.mark.parametrize("name", ["n" * 300, "loop", "x/" * 3000])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_path_that_the_system_does_not_take(command: str, name: str, capsys) -> None:
    before = sorted(os.listdir())
    code = run_command_line(command.format(path=name).split())
    out, err = capsys.readouterr()
    assert code in (1, 2), err
    assert err.splitlines()[-1].startswith("error: ")
    assert len(err.splitlines()[-1]) < 1000
    assert "Traceback" not in err
    assert out == ""
    assert sorted(os.listdir()) == before


def test_json_has_the_whole_text_of_an_error(capsys) -> None:
    assert run_command_line(["run", "infer", "x" * 5000, "--json"]) == 2
    out, err = capsys.readouterr()
    assert "x" * 5000 in json.loads(out)["error"]["message"]
    assert len(err) < 1000

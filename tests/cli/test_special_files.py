"""A pipe, a device, a socket or a folder where a command wants a file: one line, at once."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, save

from segplug.cli.root import run_command_line

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")

SECONDS = 60
"""No command that is refused at once takes as long as this, its imports included."""

NETWORK = """
from torch import nn

def net(num_classes=3):
    return nn.Conv2d(3, num_classes, 1)
"""
COMMANDS = {
    "infer onnxruntime": "infer onnxruntime {special}.onnx --input-img a.png --out out.npz",
    "infer torchscript": "infer torchscript {special}.pt --input-img a.png --out out.npz",
    "infer torch-export": "infer torch-export {special}.pt2 --input-img a.png --out out.npz",
    "infer tensorrt": "infer tensorrt {special}.engine --input-img a.png --out out.npz",
    "infer pytorch": "infer pytorch {special}.py --input-img a.png --out out.npz",
    "an image": "infer onnxruntime m.onnx --input-img {special}.png --out out.npz",
    "a data set's config": "infer onnxruntime m.onnx --dataset {special}.py --out out.npz",
    "an image of a data set": "infer onnxruntime m.onnx --dataset images --out out.npz",
    "class names": "infer onnxruntime bare.onnx --input-img a.png --out out.npz --classes {special}.txt",
    "class names of a data set": "infer onnxruntime m.onnx --dataset good --out out.npz "
    "--dataset-options classes={special}.txt",
    "predict": "predict {special}.onnx photo.png --output out",
    "predict an image": "predict m.onnx {special}.png --output out",
    "predict a video": "predict m.onnx {special}.mp4 --output out",
    "export onnx": "export onnx {special}.py --output out.onnx",
    "export of a module": "export onnx python:{special}.py:net --output out.onnx",
    "a checkpoint": "export onnx python:net.py:net --checkpoint {special}.pth --shape 8 8 --output out.onnx",
    "an .npz checkpoint": "export onnx python:net.py:net --checkpoint {special}.npz --shape 8 8 "
    "--output out.onnx",
    "a .safetensors checkpoint": "export onnx python:net.py:net --checkpoint {special}.safetensors "
    "--shape 8 8 --output out.onnx",
    "the index of a checkpoint": "export onnx python:net.py:net --checkpoint "
    "{special}.safetensors.index.json --shape 8 8 --output out.onnx",
    "a sample image": "export onnx python:net.py:net --shape 8 8 --output out.onnx --input-img {special}.png",
    "export triton": "export triton {special}.onnx --output-folder out",
    "export triton of a script": "export triton {special}.pt --output-folder out",
    "export triton of a plan": "export triton {special}.engine --output-folder out",
    "export torchserve": "export torchserve {special}.onnx --output-folder out",
    "TorchServe's configuration": "export torchserve m.onnx --output-folder out --config-file {special}.yaml",
    "build_engine": "build_engine tensorrt {special}.onnx --output out.engine",
    "publish": "convert_weights publish {special}.pth out.pth",
    "swin": "convert_weights swin {special}.pth out.pth",
    "flops": "analyze flops {special}.onnx",
    "flops of a config": "analyze flops {special}.py",
    "benchmark": "analyze benchmark {special}.onnx",
    "parity": "analyze parity {special}.py --checkpoint {special}.pth --dataset good --work-dir out",
    "logs": "analyze logs {special}.log.json",
    "config": "analyze config {special}.py",
    "confusion of .npz": "analyze confusion {special}.npz --dataset good",
    "confusion of .pkl": "analyze confusion {special}.pkl --dataset good",
    "serving": "analyze serving http://127.0.0.1:9/predictions/m --image {special}.png",
}
SERVE = {
    "serve": "serve {special}.onnx --port 0",
    "a token": "serve m.onnx --port 0 --token-file {special}",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good files for everything but the special one."""
    folder = tmp_path_factory.mktemp("special")
    (folder / "net.py").write_text(NETWORK)
    pixels = np.zeros((8, 8, 3), np.uint8)
    for name in ("good/images", "images/images"):
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "a.png"), pixels)
    cv2.imwrite(str(folder / "a.png"), pixels)
    torch.save({"weight": torch.zeros(3, 3, 1, 1), "bias": torch.zeros(3)}, folder / "good.pth")
    _save_model(folder / "bare.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = run_command_line(
            [
                "run",
                "export",
                "onnx",
                "python:net.py:net",
                "--checkpoint",
                "good.pth",
                "--shape",
                "8",
                "8",
                "--output",
                "m.onnx",
            ]
        )
    assert made == 0
    return folder


def _save_model(path: Path) -> None:
    image, scores = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("image", "scores")
    )
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["scores"])], "g", [image], [scores])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.fixture
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"the command still runs after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _make(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)  # relative, since the address of a socket is short


@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder"])
@pytest.mark.parametrize("what", [*COMMANDS, *SERVE])
def test_what_is_no_file_is_refused_at_once(
    home: Path,
    what: str,
    kind: str,
    in_time: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    line = COMMANDS.get(what) or SERVE[what]
    words = line.format(special="special").split()
    names = {word.partition("=")[2] or word for word in words if "special" in word}
    names = {name.removeprefix("python:").removesuffix(":net") for name in names}
    if what == "an image of a data set":
        if kind == "folder":
            pytest.skip("a folder in a data set is searched")
        names = {"images/images/special.png"}
    for name in names:
        monkeypatch.chdir(home / Path(name).parent)
        _make(Path(Path(name).name), kind)
    monkeypatch.chdir(home)
    before = sorted(home.rglob("*"))
    try:
        code = run_command_line([*(["run"] if what in COMMANDS else []), *words])
        shown = capsys.readouterr().err
        assert code in (1, 2), shown
        assert "Traceback" not in shown
        assert shown.strip().rpartition("\n")[2].startswith("error: "), shown
        assert sorted(home.rglob("*")) == before
    finally:
        for name in names:
            path = home / name
            path.rmdir() if path.is_dir() else path.unlink()

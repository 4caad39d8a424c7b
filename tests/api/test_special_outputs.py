"""A device, a pipe or a socket at the place of an output stays, with and without ``--force``."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segplug.cli.root import run_command_line

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")

NETWORK = """
from torch import nn

def net():
    return nn.Conv2d(3, 3, 1)
"""
LOG = '{"mode": "train", "iter": 1, "loss": 0.5}\n{"mode": "train", "iter": 2, "loss": 0.4}\n'
EXPORT = "python:net.py:net --checkpoint good.pth --shape 8 8"

OUTPUTS = {
    "export onnx": (f"export onnx {EXPORT} --output out/t.onnx", "t.onnx"),
    "export torchscript": (f"export torchscript {EXPORT} --output out/t.pt", "t.pt"),
    "a version of triton's": ("export triton m.onnx --output-folder out --model-name n", "n/1/model.onnx"),
    "a configuration of triton's": (
        "export triton m.onnx --output-folder out --model-name n",
        "n/config.pbtxt",
    ),
    "an archive": ("export torchserve m.onnx --output-folder out --model-name n", "n.mar"),
    "label maps in one file": ("infer onnxruntime m.onnx --dataset ds --out out/o.npz", "o.npz"),
    "label maps": ("infer onnxruntime m.onnx --dataset ds --format-only out", "a.png"),
    "painted images": ("infer onnxruntime m.onnx --dataset ds --show-dir out", "a.png"),
    "coloured label maps": ("infer onnxruntime m.onnx --dataset ds --color out", "a.png"),
    "a run's page": ("infer onnxruntime m.onnx --dataset ds --report out/r.html", "r.html"),
    "confidences": ("infer onnxruntime logits.onnx --dataset ds --confidence out", "a.npy"),
    "published weights": ("convert_weights publish good.pth out/w.pth", "w-*.pth"),
    "a page": ("analyze flops m.onnx --html out/f.html", "f.html"),
    "tables": ("analyze flops m.onnx --csv out", "*.csv"),
    "a drawing": ("analyze logs r.log.json --keys loss --out out/f.png", "f.png"),
}
"""What is written: the command without ``--force``, and the name of a file that it writes."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "net.py").write_text(NETWORK)
    (folder / "r.log.json").write_text(LOG)
    (folder / "ds").mkdir()
    cv2.imwrite(str(folder / "ds" / "a.png"), np.zeros((8, 8, 3), np.uint8))
    torch.save({"weight": torch.zeros(3, 3, 1, 1), "bias": torch.zeros(3)}, folder / "good.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in (
            f"run export onnx {EXPORT} --output m.onnx",
            f"run export onnx {EXPORT} --output logits.onnx --output-kind logits",
        ):
            assert run_command_line(line.split()) == 0
    return folder


def _make(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a device":
        path.symlink_to("/dev/null")
    elif kind == "device":
        if os.geteuid() != 0:
            pytest.skip("only root makes devices")
        try:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("devices cannot be made here")
    else:
        with socket.socket(socket.AF_UNIX) as server, pytest.MonkeyPatch.context() as patch:
            patch.chdir(path.parent)
            server.bind(path.name)  # relative, since the address of a socket is short


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "socket"])
@pytest.mark.parametrize("what", OUTPUTS)
def test_what_is_no_file_is_not_replaced(
    home: Path, what: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    line, name = OUTPUTS[what]
    command = ["run", *line.split(), "--force"]
    shutil.rmtree("out", ignore_errors=True)
    Path("out").mkdir()
    assert run_command_line(command) == 0, capsys.readouterr().err  # first as usual
    target = sorted(Path("out").glob(name))[0]
    target.unlink()
    _make(target, kind)
    before = target.lstat()
    capsys.readouterr()
    code = run_command_line(command)
    shown = capsys.readouterr().err
    assert (code, "Traceback" in shown) == (2, False), shown
    assert target.name in shown or "config.pbtxt" in shown
    after = target.lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    left = [path for path in Path("out").rglob("*") if ".segplug-" in path.name]
    assert left == []

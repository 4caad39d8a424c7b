"""Files of other tools as models on the command line: flags, backends, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchscript_support.foreign import NETWORKS, Body, save_script

from segplug.cli.root import run_command_line

FACTS = ["--mean", "0", "--std", "255", "--classes", "sky", "road", "car"]


@pytest.fixture(autouse=True)
def _work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_script(Path("net.pt"), NETWORKS["dict"](), trace=(1, 3, 64, 96))
    pixels = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")


def test_predict_takes_the_flags_of_the_source_and_runs_in_pytorch():
    command = ["predict", "net.pt", "photo.png", *FACTS, "--output-key", "out", "--output", "done"]
    assert run_command_line(command) == 0
    pixels = np.asarray(Image.open("photo.png"), dtype=np.float32) / 255
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    expected = NETWORKS["dict"]().eval()(images)["out"].argmax(1)[0].numpy()
    assert np.array_equal(np.asarray(Image.open("done/photo_labels.png")), expected)


@pytest.mark.slow
def test_infer_and_flops_take_them_too(capsys):
    flags = [*FACTS, "--output-key", "out"]
    assert (
        run_command_line(["infer", "pytorch", "net.pt", *flags, "--input-img", "photo.png", "--out", "a.npz"])
        == 0
    )
    assert Path("a.npz").is_file()
    capsys.readouterr()
    options = ["--source-options", "output_key=out", "mean=0", "classes=3"]
    assert run_command_line(["analyze", "flops", "net.pt", *options, "--shape", "64", "96", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_info_says_what_to_type(capsys):
    assert run_command_line(["info", "net.pt"]) == 0
    said = capsys.readouterr().out
    assert (
        "segplug export onnx net.pt --mean ... --std ... --classes ... --output model.onnx --verify" in said
    )
    assert "opened by" in said


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ("export onnx net.pt --output a.onnx", 1, "such as --output-key out: out (1x3x64x64)"),
        ("export onnx net.pt --output a.onnx --output-key ot", 1, "did you mean 'out'?"),
        ("export onnx net.pt --output a.onnx --checkpoint net.pt", 2, "the weights are in net.pt"),
        ("export onnx net.pt --output a.onnx --cfg-options a=1", 2, "has no settings that could be changed"),
        ("export onnx weights.pth --output a.onnx", 2, "no installed source reads a model from weights.pth"),
        ("export onnx weights.pth --source torchscript --output a.onnx", 1, "a file of weights without"),
        (
            "infer torchscript net.pt --input-img photo.png --out a.npz",
            1,
            "segplug infer pytorch net.pt --mean",
        ),
        ("export torchserve net.pt --output-key out --output models", 2, "export an artifact first"),
    ],
)
def test_what_is_wrong_is_one_line(capsys, arguments, code, line):
    torch.save(Body().state_dict(), "weights.pth")
    before = set(Path().iterdir())
    assert run_command_line(arguments.split()) == code
    said = capsys.readouterr().err
    assert line in " ".join(said.split())
    assert sum(text.startswith("error:") for text in said.splitlines()) == 1
    assert set(Path().iterdir()) == before

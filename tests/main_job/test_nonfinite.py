"""A checkpoint with weights that are NaN or infinite: every command that reads it says so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from segplug import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import NonfiniteError
from segplug.progress import QuietReporter

NETS = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))
        # A mask that code makes: no part of a checkpoint, and rightly infinite.
        self.register_buffer("mask", nn.Parameter().new_full((2, 2), float("-inf")), persistent=False)
"""
PYTHON = ("python:nets_with_nan:Net", "--source-options", "classes=a,b,c", "input_size=8,8")


@pytest.fixture
def damaged(project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Sequence[str]]:
    """For each source the arguments of a model: a checkpoint with one NaN or infinite value."""
    mmseg = torch.load(project.checkpoint, weights_only=False)
    mmseg["state_dict"]["decode_head.conv_seg.bias"][1] = float("nan")
    torch.save(mmseg, tmp_path / "mmseg.pth")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_with_nan.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import nets_with_nan

    network = nets_with_nan.Net()
    monkeypatch.delitem(sys.modules, "nets_with_nan")
    torch.save(network.state_dict(), tmp_path / "sound.pth")
    network[1].running_var[2] = float("inf")
    torch.save(network.state_dict(), tmp_path / "python.pth")
    return {
        "mmseg": (project.config, "--checkpoint", "mmseg.pth"),
        "python": (PYTHON[0], "--checkpoint", "python.pth", *PYTHON[1:]),
    }


NAMED = {"mmseg": "decode_head.conv_seg.bias (1 of 4)", "python": "1.running_var (1 of 4)"}
COMMANDS = {
    "infer": ("run", "infer", "pytorch"),
    "export": ("run", "export", "onnx", "--output", "made.onnx"),
    "torchscript": ("run", "export", "torchscript", "--output", "made.pt"),
    "torchserve": ("run", "export", "torchserve", "--output-folder", "store"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("source", NAMED)
def test_each_command_that_loads_it_names_the_tensor(damaged, project, capsys, tmp_path, source, command):
    more = ("--dataset", str(project.folder / "data"), "--eval", "mIoU") if command == "infer" else ()
    before = sorted(tmp_path.iterdir())
    assert run_command_line([*COMMANDS[command], *damaged[source], *more]) == 1
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert f"the weights of {source}.pth hold NaN or infinity, 1 value in 1 tensor" in lines[0]
    assert NAMED[source] in lines[0]
    assert "--allow-nonfinite" in lines[0]
    assert out == ""
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("target", ["publish", "vit"])
def test_weights_are_not_converted_or_published_without_a_word(damaged, capsys, tmp_path, target):
    before = sorted(tmp_path.iterdir())
    assert run_command_line(["run", "convert_weights", target, "mmseg.pth", "made.pth"]) == 1
    assert NAMED["mmseg"] in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_they_can_be_published_if_that_is_wanted(damaged, tmp_path):
    assert (
        run_command_line(["run", "convert_weights", "publish", "mmseg.pth", "x.pth", "--allow-nonfinite"])
        == 0
    )
    assert list(tmp_path.glob("x-*.pth"))


def test_what_is_allowed_is_still_a_warning(damaged, project):
    reporter = QuietReporter()
    Segplug(reporter=reporter).load_model(project.config, checkpoint="mmseg.pth", allow_nonfinite=True)
    assert any(NAMED["mmseg"] in line for line in reporter.warnings)


def test_a_mask_that_code_makes_may_be_infinite(damaged):
    options = {"classes": "a,b,c", "input_size": "8,8"}
    Segplug().load_model("python:nets_with_nan:Net", checkpoint="sound.pth", **options)


def test_a_network_that_was_not_loaded_here_is_checked_when_it_is_exported(project, tmp_path):
    model = Segplug().load_model(project.config, checkpoint=project.checkpoint)
    from dataclasses import replace

    with torch.no_grad():
        next(model.module.parameters()).fill_(float("nan"))
    reporter = QuietReporter()
    Segplug(reporter=reporter).export("onnx", replace(model, load_arguments=None), output=tmp_path / "m.onnx")
    assert any("the model's weights hold NaN or infinity" in line for line in reporter.warnings)


def test_a_run_on_the_exported_file_fails_and_writes_no_picture(damaged, project, tmp_path, capsys):
    export = ["run", "export", "onnx", *damaged["mmseg"], "--output", "m.onnx", "--output-kind", "logits"]
    assert run_command_line([*export, "--allow-nonfinite", "--dynamic", "--verify"]) == 1
    assert "that is no agreement" in capsys.readouterr().out
    data = str(project.folder / "data")
    infer = [
        "run",
        "infer",
        "onnxruntime",
        "m.onnx",
        "--dataset",
        data,
        "--eval",
        "mIoU",
        "--show-dir",
        "shown",
    ]
    assert run_command_line(infer) == 1
    assert "for 3072 of the 3072 pixels of the image 0.png" in capsys.readouterr().err
    assert not list((tmp_path / "shown").glob("*"))
    assert run_command_line([*infer, "--allow-nonfinite"]) == 0


def test_from_python_it_is_an_error_of_its_own(damaged, project):
    with pytest.raises(NonfiniteError):
        Segplug().load_model(project.config, checkpoint="mmseg.pth")
    Segplug().load_model(project.config, checkpoint="mmseg.pth", structure_only=True)

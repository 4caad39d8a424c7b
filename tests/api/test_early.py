"""What is wrong with a command is said before its model is loaded, which takes long."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from segplug import ModelMeta, SegmentationModel, Segplug
from segplug.api.early import least_weights, weights_of
from segplug.cli.root import run_command_line
from segplug.errors import SpaceError, UsageError
from tests.api.toys import install_toys

EXPORT = ("export", "toy", "toys:m", "--output", "m.toy")
INFER = ("infer", "pytorch", "toys:m", "--show-dir", "p")


@pytest.fixture(autouse=True)
def toys(install_plugin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("there").touch()
    Path("images").mkdir()
    Image.new("RGB", (8, 8)).save("images/a.png")
    return install_toys(install_plugin)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((*EXPORT, "--checkpoint", "none.pth"), 2, "there is no checkpoint none.pth"),
        ((*EXPORT, "--input-img", "none.png"), 2, "there is no image file none.png"),
        ((*EXPORT, "--output", "there"), 2, "there already exists"),
        ((*EXPORT, "--output", "images"), 2, "images is a folder"),
        ((*EXPORT, "--checkpoint", "there", "--output", "there", "--force"), 2, "there is an input"),
        ((*EXPORT, "--precision", "int8"), 2, "'int8' is not one of"),
        ((*EXPORT, "--fail", "early"), 2, "m.toy cannot be made in fp16"),
        (
            ("export", "plain", *EXPORT[2:], "--verify"),
            1,
            "nothing is known that runs a file of format plain",
        ),
        (("export", "shelf", "toys:m", "--checkpoint", "none.pth", "--output", "s"), 2, "none.pth"),
        ((*INFER, "--dataset", "none"), 2, "no such file or folder"),
        ((*INFER, "--input-img", "none.png"), 2, "none.png"),
        ((*INFER, "--dataset", "images", "--eval", "mIoU"), 2, "has no masks"),
        ((*INFER, "--dataset", "images", "--out", "there"), 2, "are written as .npz"),
        ((*INFER, "--dataset", "images", "--checkpoint", "none.pth"), 2, "there is no checkpoint none.pth"),
        ((*INFER, "--dataset", "images", "--executor", "none"), 2, "no target 'none'"),
        ((*INFER, "--dataset", "images", "--device", "tpu"), 2, "'tpu' is no device"),
    ],
)
def test_nothing_is_loaded(
    arguments: tuple[str, ...], code: int, said: str, toys: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["run", *arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert toys.loaded == []
    assert toys.requests == []


def test_a_full_disk_is_named_before_anything_is_loaded(
    toys: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {"w": torch.zeros(1_000_000)}}, "published.pth")
    torch.save({"state_dict": {"w": torch.zeros(1_000_000)}, "optimizer": {}}, "training.pth")
    free = 1_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert run_command_line(["run", *EXPORT, "--precision", "fp32", "--checkpoint", "published.pth"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the disk has no room for m.toy: it needs 1.8 MB at least, and has 1.0 MB free" in line
    assert toys.loaded == []
    assert run_command_line(["run", *EXPORT, "--checkpoint", "published.pth"]) == 0  # half of it, in fp16
    assert run_command_line(["run", *EXPORT, "--checkpoint", "training.pth", "--force"]) == 0
    free = 100
    with pytest.raises(SpaceError, match=r"no room for o\.pth"):
        Segplug().convert_weights("toyweights", "training.pth", "o.pth")
    with pytest.raises(SpaceError, match="no room for"):
        Segplug().pack("shelf", "published.pth", folder="shelf")
    assert not Path("shelf").exists()


def test_the_least_that_weights_take(tmp_path: Path) -> None:
    Path("w.safetensors").write_bytes(bytes(1000))
    Path("old.pth").write_bytes(bytes(1000))
    assert [least_weights(name) for name in ("w.safetensors", "old.pth", "none.pth", None)] == [
        500,
        125,
        0,
        0,
    ]


def test_weights_that_layers_share_count_once() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(10, 10, bias=False), torch.nn.Linear(10, 10, bias=False))
    model = SegmentationModel(network, ModelMeta("m"), exportable=lambda: network)
    assert weights_of(model) == 800
    network[1].weight = network[0].weight
    assert weights_of(model) == 400


def test_what_is_no_data_set_is_said() -> None:
    with pytest.raises(UsageError, match=r"dataset is of the type builtins\.list, which is no data set"):
        Segplug().evaluate(Segplug().load_model("toys:m"), dataset=[1])  # type: ignore[arg-type]

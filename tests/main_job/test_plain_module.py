"""A plain PyTorch module does the whole job in an environment that has no mmsegmentation and no mmcv."""

from __future__ import annotations

import io
import json
import re
import signal
import site
import subprocess
import textwrap
import urllib.request
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

_MMSEG = re.compile("mm(seg|cv|cls)")
"""Packages of the framework and of segplug-mmseg, their metadata, and their links into this repository."""

NETS = """
    from torch import nn
    from torch.nn import functional as F


    class Net(nn.Module):
        def __init__(self, classes: int, width: int = 8) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, width, 3, stride=2, padding=1), nn.SyncBatchNorm(width), nn.ReLU()
            )
            self.pool = nn.AdaptiveAvgPool2d(3)
            self.head = nn.Conv2d(width, classes, 1)

        def forward(self, images):
            x = self.body(images)
            x = x + F.interpolate(self.pool(x), size=x.shape[2:], mode="bilinear")
            return F.interpolate(self.head(x), size=images.shape[2:], mode="bilinear")
"""

WEIGHTS = """
    import nets, torch

    torch.manual_seed(0)
    torch.save({"state_dict": nets.Net(3).state_dict()}, "weights.pth")
"""

MODEL = ("python:nets:Net", "--checkpoint", "weights.pth", "--cfg-options", "classes=3")
OPTIONS = ("--source-options", "mean=120,115,100", "std=60,57,57", "classes=sky,road,car", "input_size=48,64")
FILES = {"onnx": "m.onnx", "torchscript": "m.pt", "torch-export": "m.pt2"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with everything that this one has, less what is of mmseg."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    interpreter = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True)
    own = Path(found.stdout.strip())
    for place in site.getsitepackages():
        for entry in Path(place).iterdir():
            if not _MMSEG.search(entry.name) and not (own / entry.name).exists():
                (own / entry.name).symlink_to(entry)
    return interpreter


@pytest.fixture(scope="module")
def project(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user: a module, its weights, and a data set of images and masks."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "nets.py").write_text(textwrap.dedent(NETS))
    subprocess.run([python, "-c", textwrap.dedent(WEIGHTS)], cwd=folder, check=True)
    random = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "data" / kind).mkdir(parents=True)
    for name, (height, width) in {"a": (48, 64), "b": (49, 67)}.items():
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "data" / "images" / f"{name}.png"), image)
        mask = random.integers(0, 3, (height, width), dtype=np.uint8)
        cv2.imwrite(str(folder / "data" / "masks" / f"{name}.png"), mask)
    return folder


@pytest.fixture(scope="module")
def segplug(python: Path, project: Path) -> Callable[..., Any]:
    """Runs a command in the project's folder, and returns the document that it prints."""

    def run(*words: str) -> Any:
        command = [python, "-m", "segplug", *words, "--json"]
        ended = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


def test_mmseg_and_mmcv_are_not_there(python: Path, segplug) -> None:
    for name in ("mmseg", "mmcv", "segplug_mmseg"):
        ended = subprocess.run([python, "-c", f"import {name}"], capture_output=True, text=True)
        assert f"No module named '{name}'" in ended.stderr
    targets = {(entry["hook"], entry["target"]) for entry in segplug("plugins", "list")}
    assert ("load_model", "python") in targets
    assert ("load_model", "mmseg") not in targets
    assert ("load_dataset", "mmseg") not in targets


@pytest.fixture(scope="module")
def files(segplug, project: Path) -> dict[str, Path]:
    """Verified files with free sizes, by their format."""
    for target, name in FILES.items():
        document = segplug(
            "run", "export", target, *MODEL, *OPTIONS, "--dynamic", "--verify", "--output", name
        )
        assert document["verification"]["passed"]
        assert document["artifact"]["meta"]["input_limits"]["multiple_of"] == 1
    return {target: project / name for target, name in FILES.items()}


def test_the_files_give_the_scores_of_the_module(segplug, files) -> None:
    data = ("--dataset", "data", "--eval", "mIoU")
    expected = segplug("run", "infer", "pytorch", *MODEL, *OPTIONS, *data)["scores"]
    assert 0 < expected["mIoU"] < 1
    for backend, file in (("onnxruntime", files["onnx"]), ("torchscript", files["torchscript"])):
        assert segplug("run", "infer", backend, str(file), *data)["scores"] == expected


def test_they_are_timed_side_by_side(segplug, files) -> None:
    document = segplug(
        "run", "analyze", "benchmark", "python:nets:Net", str(files["onnx"]), "--checkpoint", "weights.pth",
        "--cfg-options", "classes=3", *OPTIONS, "--runs", "2", "--warmup", "0",
    )  # fmt: skip
    assert [engine["name"] for engine in document["candidates"]] == [
        "python:nets:Net on pytorch",
        "m.onnx on onnxruntime",
    ]
    assert all(engine["median_ms"] > 0 for engine in document["candidates"])


def test_it_is_served(python: Path, project: Path, segplug) -> None:
    command = [python, "-m", "segplug", "serve", *MODEL, *OPTIONS, "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            lines: list[str] = []
            while not lines or lines[-1] != "}\n":
                lines.append(server.stdout.readline())
                assert lines[-1], "the server ended"
            url = json.loads("".join(lines))["url"]
            image = (project / "data" / "images" / "b.png").read_bytes()
            with urllib.request.urlopen(urllib.request.Request(url, data=image), timeout=60) as answer:
                mask = np.asarray(Image.open(io.BytesIO(answer.read())))
        finally:
            server.send_signal(signal.SIGTERM)
    segplug("run", "infer", "pytorch", *MODEL, *OPTIONS, "--dataset", "data", "--format-only", "maps")
    expected = np.asarray(Image.open(project / "maps" / "b.png"))
    assert np.array_equal(mask, expected)

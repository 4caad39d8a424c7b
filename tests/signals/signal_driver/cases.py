"""The commands that are ended, and what they work on."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["CASES", "Case", "make_inputs"]

NETWORKS = """
    import torch
    from torch import nn
    from torch.nn import functional


    class Net(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.head = nn.Conv2d(8, 4, 1)

        def forward(self, images):
            scores = self.head(torch.relu(self.stem(images)))
            return functional.interpolate(scores, size=images.shape[2:], mode="bilinear")


    def one():
        return Net(1)


    def other():
        return Net(2)
"""

MODELS = """
    import networks, torch
    from segplug import Segplug

    options = {"classes": ["a", "b", "c", "d"], "input_size": [32, 48]}
    for name in ("one", "other"):
        weights = getattr(networks, name)().state_dict()
        torch.save({"state_dict": weights, "meta": {}, "optimizer": {}}, f"{name}.pth")
        model = Segplug().load_model(f"python:networks:{name}", **options)
        Segplug().export("onnx", model, output=f"{name}.onnx", output_kind="logits")
"""

BUILDER = '''
    from segplug import ModelMeta, hookimpl
    from segplug.options import NoOptions
    from segplug.providers import EngineBuilder

    class Builder(EngineBuilder[NoOptions]):
        """Builds an engine of three files: two parts and the metadata."""

        hook_version = 2
        reads = ("onnx",)
        suffix = ".toy"

        @hookimpl
        def build_engine(self, request):
            content = request.file.read_bytes()
            request.output.with_name(request.output.name + ".part").write_bytes(content)
            request.output.write_bytes(content[::-1])
            meta = ModelMeta(name="toy")
            self.write_meta(request.output, meta)
            return request.made(meta)

    toy = Builder()
'''

MODEL = ("--source-options", "classes=a,b,c,d", "input_size=32,48")
IMAGES = 24


@dataclass(frozen=True)
class Case:
    """A command that writes into ``out`` in its working folder, from the inputs in ``../inputs``."""

    name: str
    command: tuple[str, ...]
    main: str = ""
    """The file that readers open, if it has several parts, which are seen together or not at all."""
    older: tuple[str, ...] = ()
    """A command that writes something else to the same place before; it is replaced."""
    older_file: str = ""
    """Or a file, which is copied from an input."""
    makes: str = ""
    """A folder that must be there before."""
    resumes: bool = False
    """Whether ``--resume`` continues it; else it is simply run again."""


def _export(target: str, suffix: str) -> Case:
    run = ("run", "export", target, "python:networks:one", *MODEL, "--force", "--json")
    return Case(f"export {target}", (*run, "--output", f"out/model{suffix}"), older_file=f"model{suffix}")


def _pack(target: str, main: str) -> Case:
    def command(network: str) -> tuple[str, ...]:
        run = (
            "run",
            "export",
            target,
            f"../inputs/{network}.onnx",
            "--model-name",
            "model",
            "--force",
            "--json",
        )
        return (*run, "--output-folder", "out/models")

    return Case(f"export {target}", command("one"), main, command("other"), makes="out/models")


def _score(*sinks: str) -> tuple[str, ...]:
    run = (
        "run",
        "infer",
        "onnxruntime",
        "../inputs/one.onnx",
        "--dataset",
        "../inputs/data",
        "--threads",
        "1",
    )
    return (*run, "--json", "--force", *sinks)


CASES = {
    case.name: case
    for case in (
        _export("onnx", ".onnx"),
        _export("torchscript", ".pt"),
        _export("torch-export", ".pt2"),
        _pack("triton", "models/model/config.pbtxt"),
        _pack("torchserve", ""),
        Case(
            "build_engine",
            (
                "run",
                "build_engine",
                "toy",
                "../inputs/one.onnx",
                "--output",
                "out/m.toy",
                "--force",
                "--json",
            ),
            main="m.toy",
            older=(
                "run",
                "build_engine",
                "toy",
                "../inputs/other.onnx",
                "--output",
                "out/m.toy",
                "--force",
                "--json",
            ),
        ),
        Case(
            "publish",
            ("run", "convert_weights", "publish", "../inputs/one.pth", "out/m.pth", "--force", "--json"),
            older=(
                "run",
                "convert_weights",
                "publish",
                "../inputs/other.pth",
                "out/m.pth",
                "--force",
                "--json",
            ),
        ),
        Case(
            "score", _score("--eval", "mIoU", "--show-dir", "out/shown", "--out", "out/raw.npz"), resumes=True
        ),
        Case("write", _score("--format-only", "out/maps", "--confidence", "out/confidence"), resumes=True),
    )
}


def make_inputs(folder: Path, environment: dict[str, str]) -> None:
    """Write images, masks, two networks, their ONNX files and weights, and the plugin with the builder."""
    generator = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "data" / kind).mkdir(parents=True)
    for index in range(IMAGES):
        image = generator.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "data" / "images" / f"{index:02}.png")
        Image.fromarray((image[..., 0] // 64).astype(np.uint8)).save(
            folder / "data" / "masks" / f"{index:02}.png"
        )
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MODELS)],
        cwd=folder,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )

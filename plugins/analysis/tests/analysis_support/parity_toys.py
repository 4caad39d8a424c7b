"""Small images, and an exporter, a builder and a backend for the tests of ``analyze parity``.

A test file that imports the fixtures can use them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segplug.api import Segplug
from segplug.groups import group_of
from segplug.results import AnalyzeReport
from segplug.testing.fixtures import Install
from segplug.verification.sample import sample_image

ROOT = Path(__file__).resolve().parents[4]
CONFIG = ROOT / "demo" / "config.py"
WEIGHTS = ROOT / "demo" / "weights.pth"

# The demo's network with a small input, which takes little time.
SMALL = {"data.test.pipeline.1.img_scale": (64, 32)}

TOY = """
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from segplug import Axis, EngineSpec, hookimpl, option
from segplug.artifact import read_sidecar, write_sidecar
from segplug.errors import ArtifactError, DeviceError, RefusedError
from segplug.options import NoOptions
from segplug.providers import AddOn, Backend, EngineBuilder, Exporter

WORK = Path(__file__).parent  # the log, and the files that change what the toys do
MODELS = {}  # a toy file has one of these keys


def log(**entry):
    with open(WORK / "log.jsonl", "a") as file:
        file.write(json.dumps(entry) + "\\n")


@dataclass(frozen=True)
class Options:
    output_kind: Literal["auto", "labels", "logits"] = option("auto", help="As export onnx has it.")


class ToyExporter(Exporter[Options]):
    hook_version = 2
    options = Options
    suffix = ".toymodel"

    @hookimpl
    def export(self, request):
        kind = request.options.output_kind
        asked = {"precision": request.precision, "shape": request.shape, "dynamic": request.dynamic}
        log(hook="export", kind=kind, **asked)
        key = f"model {len(MODELS)}"
        MODELS[key] = request.model.exportable()
        request.output.write_text(key)
        size = {} if request.dynamic else {"size": request.shape}
        meta = request.model.meta.replace(extra={"toy": {"kind": kind, **size}}, versions={"numpy": "1.0"})
        if not (WORK / "old").exists():
            meta = meta.replace(versions={"no-such-distribution": "1.0"})
        write_sidecar(request.output, meta)
        return request.made(meta)


class ToyBuilder(EngineBuilder[NoOptions]):
    hook_version = 2
    reads = ("toymodel",)
    precisions = ("fp32", "fp16", "int8")

    @hookimpl
    def build_engine(self, request):
        (WORK / "source_trusted").write_text(json.dumps(request.trust_artifact))
        log(hook="build", precision=request.precision, source=str(request.artifact), device=request.device)
        if request.precision == "int8":
            raise ArtifactError("int8 needs images to calibrate with")
        shutil.copy(request.artifact, request.output)
        meta = read_sidecar(request.artifact)
        meta = meta.replace(extra={"toy": {**meta.extra["toy"], "precision": request.precision}})
        write_sidecar(request.output, meta)
        return request.made(meta)


class Engine:
    def __init__(self, path):
        meta = read_sidecar(path)
        self.toy = meta.extra["toy"]
        self.module = MODELS[path.read_text()]
        size = self.toy.get("size")
        axes = dict(zip(("height", "width"), map(Axis.fixed, size))) if size else {}
        kind = "labels" if self.toy["kind"] == "labels" else "logits"
        self.spec = EngineSpec(meta=meta, output=kind, backend="toy", fresh_output=True, **axes)
        self.runs = 0

    def run(self, batch):
        self.runs += 1
        if (WORK / "interrupt").exists() and self.runs == 3:
            time.sleep(0.5)  # the first two results are consumed in another thread
            raise KeyboardInterrupt
        with torch.inference_mode():
            logits = self.module(torch.from_numpy(batch)).numpy()
        if self.toy.get("precision") == "fp16":  # a square of wrong answers that grows with each image
            side = 2 * self.runs
            logits[:, :, :side, :side] *= -1
        return logits.argmax(1) if self.spec.output == "labels" else logits

    def close(self):
        pass


class Infer(Backend[NoOptions]):
    hook_version = 2

    @hookimpl
    def infer(self, request):
        (WORK / "opened").write_text(json.dumps([request.device, request.threads]))
        (WORK / "trusted").write_text(json.dumps(request.trust_artifact))
        if (WORK / "ruin").exists():
            Path((WORK / "ruin").read_text()).write_bytes(b"no picture")
        return Engine(request.artifact)


class Npu(Infer):
    reads = ("toymodel",)
    default_device = "npu:0"
    known = ("npu:0",)

    @hookimpl
    def infer(self, request):
        if request.device not in self.known:
            raise DeviceError(f"there is no NPU {request.device}")
        return super().infer(request)


class TwoNpus(Npu):
    known = ("npu:0", "npu:1")


class Orphan(Infer):
    reads = ("a-format-that-nobody-makes",)


class BrokenEngine(Engine):
    def run(self, batch):
        return {}["no such key"]


class Broken(Infer):
    reads = ("toyengine",)

    @hookimpl
    def infer(self, request):
        return BrokenEngine(request.artifact)


class BrokenMaker(ToyBuilder):
    @hookimpl
    def build_engine(self, request):
        raise IndexError("list index out of range")


class Rule(AddOn[NoOptions]):
    hook_versions = {"export": 2}

    @hookimpl(wrapper=True)
    def export(self, request):
        raise RefusedError("exports are forbidden")
        yield


exporter, builder, infer, orphan, rule = ToyExporter(), ToyBuilder(), Infer(), Orphan(), Rule()
broken, broken_maker = Broken(), BrokenMaker()
npu, npus = Npu(), TwoNpus()
"""

NPU = {"acme": "toy_parity:npu"}

POINTS = {
    "export": {"toymodel": "toy_parity:exporter"},
    "build_engine": {"toyengine": "toy_parity:builder"},
    "infer": {"toyengine": "toy_parity:infer", "orphan": "toy_parity:orphan"},
}


class Toys:
    """The installed toy plugin: its log, and files that change what it does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self) -> list[dict[str, Any]]:
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def forget(self) -> None:
        (self.folder / "log.jsonl").unlink(missing_ok=True)

    def shall(self, word: str, *, yes: bool = True) -> None:
        path = self.folder / word
        path.touch() if yes else path.unlink()


@pytest.fixture(name="install")
def install_fixture(install_plugin: Install) -> Callable[..., Toys]:
    """Install an exporter, an engine builder and a backend that lead from one to the other."""

    def run(**more: dict[str, str]) -> Toys:
        entries = {group_of(hook): targets for hook, targets in {**POINTS, **more}.items()}
        return Toys(install_plugin("toy_parity", entries, toy_parity=TOY))

    return run


@pytest.fixture(name="toys")
def toys_fixture(install: Callable[..., Toys]) -> Toys:
    return install()


def write_images(folder: Path, *sizes: tuple[int, int]) -> Path:
    """A data set with a picture of each size, and masks of the demo's classes with an ignored stripe."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number, (height, width) in enumerate(sizes):
        image = sample_image(height, width, seed=number)
        mask = np.random.default_rng(number).integers(0, 8, (height, width), np.uint8)
        mask[-height // 4 :] = 255
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), mask)
    return folder


@pytest.fixture(name="images")
def images_fixture(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", *[(32, 64)] * 4)


@pytest.fixture(name="parity")
def parity_fixture(tmp_path: Path, images: Path) -> Callable[..., AnalyzeReport]:
    """Analyse the demo's model on four small pictures, with the toy engine."""

    def run(
        *, session: Segplug | None = None, config: Path = CONFIG, checkpoint: Path = WEIGHTS, **options: Any
    ) -> AnalyzeReport:
        given = {
            "backend": ("toyengine",),
            "dataset": str(images),
            "cfg_options": SMALL,
            "work_dir": tmp_path / "work",
            **options,
        }
        return (session or Segplug()).analyze("parity", config, checkpoint, **given)

    return run


def table(report: AnalyzeReport, title: str) -> list[dict[str, Any]]:
    found = next(table for table in report.tables if table.title == title)
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]

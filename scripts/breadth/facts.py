"""Where models come from, what becomes of them, and what of it was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tomllib

__all__ = [
    "ECOSYSTEMS",
    "FORMATS",
    "GROUPS",
    "MODES",
    "ROOT",
    "ROWS",
    "RUNTIMES",
    "SERVERS",
    "Box",
    "Counts",
    "Ecosystem",
    "counts_of",
    "declared_targets",
]

ROOT = Path(__file__).resolve().parents[2]
ROWS = ROOT / "docs" / "support-matrix"
"""The measured rows: a file for each source of the matrix."""

MODES = ("static", "dynamic", "slide")
"""The exports that are counted. The rows have other parts, too, in which nothing is exported."""

GROUPS = ("load_model", "export", "build_engine", "infer")
"""The hooks whose targets the picture shows."""


@dataclass(frozen=True)
class Counts:
    """What an ecosystem has in its rows, and how many exports passed."""

    kinds: int
    """Families, classes or architectures; one may be measured with several networks."""
    measured: tuple[int, ...]
    """For each of ``MODES``."""
    passed: tuple[int, ...]
    """For each of ``MODES``."""


@dataclass(frozen=True)
class Ecosystem:
    """A kind of model that is taken."""

    name: str
    holds: str
    """What there are of it: ``families``. Or, where nothing is counted, what it is."""
    given: str
    """What the user has."""
    command: str
    """A command that takes it."""
    targets: tuple[str, ...]
    """The targets that read it."""
    link: str
    """The page about it, in the repository."""
    rows: str = ""
    """The name of its file of rows. Empty: it has no list of networks, so none are counted."""
    proof: str = ""
    """What was measured, where nothing is counted."""


@dataclass(frozen=True)
class Box:
    """What the picture shows of a format, of what runs files, or of a server."""

    name: str
    detail: str
    targets: tuple[str, ...]
    """``hook:target`` of each target behind it."""
    was_run: bool = True
    """Whether it was run, and not only written for and checked."""


ECOSYSTEMS = (
    Ecosystem(
        "mmsegmentation 0.x",
        "families",
        "a config and a checkpoint",
        "segplug predict CONFIG.py photo.jpg --checkpoint WEIGHTS.pth",
        ("load_model:mmseg",),
        "plugins/mmseg",
        rows="mmseg0",
    ),
    Ecosystem(
        "mmsegmentation 1.x",
        "families",
        "a config and a checkpoint, of 1.x or of 0.x",
        "segplug predict CONFIG.py photo.jpg --checkpoint WEIGHTS.pth",
        ("load_model:mmseg",),
        "plugins/mmseg",
        rows="mmseg1",
    ),
    Ecosystem(
        "transformers",
        "classes",
        "a folder of `save_pretrained`",
        "segplug predict FOLDER photo.jpg",
        ("load_model:transformers",),
        "plugins/transformers",
        rows="transformers",
    ),
    Ecosystem(
        "segmentation-models-pytorch",
        "architectures",
        "a folder of `save_pretrained`",
        "segplug predict FOLDER photo.jpg --classes sky road car",
        ("load_model:smp",),
        "plugins/smp",
        rows="smp",
    ),
    Ecosystem(
        "torchvision",
        "networks",
        "weights: a state dict",
        "segplug predict torchvision:deeplabv3_resnet50 photo.jpg --checkpoint WEIGHTS.pth",
        ("load_model:torchvision",),
        "plugins/torchvision",
        rows="torchvision",
    ),
    Ecosystem(
        "plain PyTorch",
        "any network",
        "Python code and a checkpoint",
        "segplug predict python:nets.unet:build photo.jpg --checkpoint WEIGHTS.pth --mean 0 --std 255",
        ("load_model:python",),
        "plugins/torch#any-network-in-three-lines",
        proof="tests: dicts, tuples, objects, scores at a stride",
    ),
    Ecosystem(
        "TorchScript and .pt2 files",
        "any network",
        "a file of another tool",
        "segplug predict NET.pt photo.jpg --mean 0 --std 255",
        ("load_model:torchscript", "load_model:torch-export"),
        "plugins/torchscript#files-of-other-tools-as-models",
        proof="tests: dicts, tuples, fixed and free sizes",
    ),
    Ecosystem(
        "ONNX files",
        "Ultralytics, optimum, mmdeploy",
        "a file of another tool",
        "segplug predict FOREIGN.onnx photo.jpg",
        ("infer:onnxruntime",),
        "plugins/onnx#files-of-other-tools",
        proof="compared with the tools' own labels",
    ),
)

FORMATS = (
    Box(".onnx", "ONNX", ("export:onnx",)),
    Box(".pt", "TorchScript", ("export:torchscript",)),
    Box(".pt2", "torch.export", ("export:torch-export",)),
    Box(".engine", "TensorRT", ("build_engine:tensorrt", "build_engine:torch-tensorrt")),
)

RUNTIMES = (
    Box("ONNX Runtime", "or OpenVINO", ("infer:onnxruntime", "infer:openvino")),
    Box("PyTorch", "files and models", ("infer:pytorch", "infer:torchscript", "infer:torch-export")),
    Box("TensorRT", "", ("infer:tensorrt",), was_run=False),
)

SERVERS = (
    Box("segplug serve", "a page, HTTP", ("infer:http",)),
    Box("TorchServe", "", ("export:torchserve", "infer:torchserve")),
    Box("Triton", "", ("export:triton",), was_run=False),
)


@cache
def counts_of(name: str) -> Counts:
    """What the rows of a source say."""
    rows = json.loads((ROWS / f"{name}.json").read_text(encoding="utf-8"))
    parts = [[row for row in rows if row["mode"] == mode] for mode in MODES]
    return Counts(
        # "Unet(resnet34)" is an architecture with an encoder.
        kinds=len({row["config"].partition("(")[0] for row in rows}),
        measured=tuple(len(part) for part in parts),
        passed=tuple(sum(row["passed"] for row in part) for part in parts),
    )


@cache
def declared_targets() -> frozenset[str]:
    """``hook:target`` of every target that a plugin of this repository declares for ``GROUPS``."""
    files = (*ROOT.glob("plugins/*/pyproject.toml"), *ROOT.glob("examples/*/pyproject.toml"))
    return frozenset(target for file in files for target in _targets(file))


def _targets(file: Path) -> Iterator[str]:
    declared = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["entry-points"]
    for hook in GROUPS:
        yield from (f"{hook}:{target}" for target in declared.get(f"segplug.{hook}", {}))

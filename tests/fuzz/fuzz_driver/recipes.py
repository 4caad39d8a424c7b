"""For each command one way to use it that works, in as little time as possible."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from fuzz_driver.commands import Command
from fuzz_driver.inputs import SEGFORMER, WEIGHTS

__all__ = ["Input", "Output", "Recipe", "Word", "recipe"]


@dataclass(frozen=True)
class Input:
    """A word that is the path of an input (:mod:`fuzz_driver.inputs`), whole or damaged."""

    name: str
    damage: str = ""
    seed: int = 0
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class Output:
    """A word that is a path to write."""

    path: str
    keeps: str = ""
    """The option whose files may stay when the command fails: those of finished images, for one."""
    there: str = ""
    """What lies there before."""


Word = str | Input | Output


@dataclass(frozen=True)
class Recipe:
    """The words after a command's name, and what the command ends with."""

    words: tuple[Word, ...]
    codes: frozenset[int] = frozenset({0})


_FORMATS = {
    "onnx": "tiny.onnx",
    "torchscript": "tiny.pt",
    "torch-export": "tiny.pt2",
    "tensorrt": "tiny.engine",
    "torch-tensorrt": "tiny.engine",
}
_WEIGHTS = {"vit-jax": "weights/vit-jax.npz"}
_MODEL: tuple[Word, ...] = (Input("tiny.py"), "--checkpoint", Input("tiny.pth"))
_MODULE: tuple[Word, ...] = (Input("nets.py", prefix="python:", suffix=":build"),)
_FOLDER: tuple[Word, ...] = (Input(SEGFORMER),)
_FOREIGN: tuple[Word, ...] = (Input("foreign.onnx"), "--output-kind", "logits", "--mean", "0", "--std", "1")
_DATA: tuple[Word, ...] = ("--dataset", Input("data"))
_CLASSES = ("--dataset-options", "classes=in/classes.txt")
_SERVER: tuple[Word, ...] = ("--model-name", "tiny", "--timeout", "20")
_LACKS = frozenset({0, 1})
"""The codes of a command that needs hardware or a library which this machine may not have."""

_REPORTS: Mapping[str, tuple[Word, ...]] = {
    "benchmark": (Input("tiny.onnx"), Input("tiny.pt"), "--runs", "2", "--warmup", "0", "--threads", "1"),
    "config": (Input("tiny.py"),),
    "confusion": (Input("results.npz"), *_DATA, *_CLASSES),
    "flops": (Input("tiny.py"),),
    "logs": (Input("run.log.json"),),
    "parity": (
        *(Input("tiny.py"), Input("tiny.pth"), *_DATA, "--backend", "onnxruntime"),
        *("--work-dir", Output("out/parity", keeps="work_dir"), "--images", "1"),
    ),
    "serving": (
        *("--url", "URL", "--image", Input("data/images/0.png"), "--requests", "2", "--concurrency", "1"),
        *_SERVER,
    ),
}
_MORE: Mapping[str, tuple[Word, ...]] = {
    "build_engine tensorrt": ("--max-shape", "1x3x32x48"),
    "infer http": _SERVER,
    "infer torchserve": _SERVER,
}
_CODES = {
    "build_engine tensorrt": _LACKS,
    "build_engine torch-tensorrt": _LACKS,
    "infer tensorrt": _LACKS,
}
_OTHERS: Mapping[str, tuple[Word, ...]] = {
    "plugins list": ("--json",),
    "plugins manifest": ("--check", "segplug-onnx"),
    "plugins show": ("onnx",),
    "predict": (
        *(Input("tiny.onnx"), Input("data/images/0.png")),
        *("--output", Output("out/predictions", keeps="predictions")),
    ),
    "serve": (
        *(Input("tiny.onnx"), "--port", "0", "--threads", "1"),
        *("--samples", Input("data/images"), "--palette", "distinct"),
    ),
}


def recipe(command: Command, rng: Random) -> Recipe:
    """A valid use of a command.

    A target of a known hook needs no entry here unless it takes more than all targets of its hook do.
    """
    more = _MORE.get(command.name, ())
    return Recipe((*_words(command, rng), *more), _CODES.get(command.name, frozenset({0})))


def _words(command: Command, rng: Random) -> tuple[Word, ...]:
    facts = command.facts
    if not command.hook or facts is None:
        return _OTHERS.get(command.name, (Input("tiny.onnx"),))
    if command.hook == "analyze":
        return _REPORTS.get(command.target, (Input("tiny.py"),))
    if command.hook == "convert_weights":
        made = f"weights/{command.target}.pth" if command.target in WEIGHTS else "tiny.pth"
        return Input(_WEIGHTS.get(command.target, made)), Output("out/converted.pth")
    subject = _subject(command, rng)
    if command.hook == "infer":
        asked: tuple[Word, ...] = rng.choice(
            (
                (*_DATA, "--eval", "mIoU"),
                ("--input-img", Input("data/images/0.png"), "--out", Output("out/labels.npz")),
                (*_DATA, "--show-dir", Output("out/painted", keeps="show_dir")),
                (*_DATA, "--format-only", Output("out/maps", keeps="format_only")),
                (*_DATA, "--color", Output("out/colours", keeps="color"), "--palette", "distinct"),
                (*_DATA, "--report", Output("out/run.html"), "--report-images", "1"),
                (
                    *(*_DATA, "--show-dir", Output("out/painted", keeps="show_dir")),
                    *("--show-parts", "image", "truth", "difference", "--legend", "below"),
                ),
            )
        )
        return *subject, *asked
    if facts.kind == "Packer":
        return *subject, "--output-folder", Output("out/store")
    shape: tuple[Word, ...] = ()
    if command.hook == "export":
        shape = ("--shape", "32", "48")
    elif subject == _MODULE:  # whose input size nobody knows
        shape = ("--max-shape", "1x3x32x48")
    return *subject, *shape, "--output", Output(f"out/model{facts.suffix}")


def _subject(command: Command, rng: Random) -> tuple[Word, ...]:
    """What a target works on; where it takes several kinds, one of them."""
    facts = command.facts
    assert facts is not None
    if facts.takes == "url":
        return ("URL",)
    if facts.takes == "model":
        drawn = rng.random()
        if drawn < 0.2 and importlib.util.find_spec("segplug_transformers"):
            return _FOLDER
        return _MODULE if drawn < 0.4 else _MODEL
    if facts.takes == "either" and rng.random() < 0.3:
        return _MODEL
    if command.name == "infer onnxruntime" and rng.random() < 0.3:
        return _FOREIGN
    return (Input(_FORMATS.get(facts.reads[0] if facts.reads else "onnx", "tiny.onnx")),)

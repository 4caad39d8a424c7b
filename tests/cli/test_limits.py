"""Numbers that take memory or threads in proportion are refused in one line, before anything is taken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from segplug.api import Segplug
from segplug.cli.root import run_command_line
from segplug.errors import UsageError
from segplug.groups import HOOKS
from segplug.limits import MOST_VALUES, most_threads, why_no_input, why_no_memory
from segplug.options import OptionSpec
from segplug.registry.discovery import entries

NETWORK = """
from torch import nn

def net():
    return nn.Conv2d(3, 3, 1)
"""
SIZE = "1000000 1000000"

COMMANDS = [
    f"run export onnx python:net.py:net --shape {SIZE} --output out.onnx",
    "run export onnx python:net.py:net --source-options input_size=1000000,1000000 --output out.onnx",
    "run export torchscript python:net.py:net --shape 13000 13001 --dynamic --source-options in_channels=300 "
    "--output out.pt",
    f"run analyze flops python:net.py:net --shape {SIZE}",
    f"run analyze flops free.onnx --shape {SIZE}",
    f"run analyze benchmark free.onnx --shape {SIZE} --runs 1",
    "run analyze benchmark free.onnx --shape 8 8 --runs 1 --batch 1000000",
    "run analyze benchmark free.onnx --shape 8192 8192 --runs 1 --batch 4096",
    "run analyze benchmark free.onnx --shape 8 8 --runs 10000000000",
    "run analyze benchmark free.onnx --shape 8 8 --runs 1 --threads 99999999",
    "run infer onnxruntime free.onnx --input-img a.png --out out.npz --threads 99999999",
    "run infer onnxruntime free.onnx --input-img a.png --out out.npz --threads 4000",
    "run infer onnxruntime free.onnx --input-img a.png --out out.npz --batch-size 1000000",
    "run export torchserve free.onnx --output-folder out --threads 99999999",
    "run analyze serving --url http://127.0.0.1:9 --image a.png --concurrency 1000000 --requests 1000000",
    "serve free.onnx --port 0 --threads 99999999",
    "serve free.onnx --port 0 --batch-size 1000000",
    "serve free.onnx --port 0 --queue 100000000",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limits")
    (folder / "net.py").write_text(NETWORK)
    cv2.imwrite(str(folder / "a.png"), np.zeros((8, 8, 3), np.uint8))
    image, scores = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in ("a", "b")
    )
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", [image], [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "free.onnx")
    return folder


@pytest.mark.skipif(most_threads() >= 4000, reason="a machine of very many processors")
@pytest.mark.parametrize("line", COMMANDS)
def test_too_much_is_one_line(
    home: Path, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    before = sorted(home.rglob("*"))
    code = run_command_line(line.split())
    shown = capsys.readouterr().err
    assert code in (1, 2), shown
    assert "Traceback" not in shown
    assert shown.strip().rpartition("\n")[2].startswith("error: "), shown
    assert sorted(path for path in home.rglob("*") if "__pycache__" not in path.parts) == before


@pytest.mark.parametrize("shape", [(1, 3, 10**6, 10**6), (10**6, 3, 512, 512)])
def test_a_file_that_takes_huge_inputs_only(
    tmp_path: Path, home: Path, shape: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    image, scores = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("a", "b"))
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", [image], [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "huge.onnx")
    line = f"run infer onnxruntime {tmp_path / 'huge.onnx'} --input-img {home / 'a.png'} --classes 3"
    options = f"--output-kind logits --mean 0 --std 1 --out {tmp_path / 'out.npz'}"
    assert run_command_line([*line.split(), *options.split()]) == 1
    assert "is too large: at most" in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_threads_are_bounded_by_the_machine_from_python(home: Path) -> None:
    assert most_threads() >= 4 * (os.cpu_count() or 1)
    for threads, words in (
        (most_threads() + 1, r"threads on this machine must be within 1\.\."),
        ("3", "must be a number, not '3'"),
        (2.5, "must be a whole number"),
    ):
        with pytest.raises(UsageError, match=words):  # noqa: SIM117
            with Segplug().open(home / "free.onnx", backend="onnxruntime", threads=threads):
                pass


def test_an_input_is_bounded_by_its_pixels_and_by_all_of_it() -> None:
    assert why_no_input((1024, 2048), channels=3, batch=8) is None
    assert "pixels" in str(why_no_input((10**6, 10**6)))
    assert f"{MOST_VALUES:,}" in str(why_no_input((1024, 1024), channels=1025))


UNBOUNDED = {
    # Limits of what is refused: a larger one takes nothing by itself.
    "max_bytes",
    "max_pixels",
    "max_edge",
    "max_decoded",
    # Rows of a table, levels of a tree, numbers of channels to show: as many as there are, at most.
    "top",
    "depth",
    "bands",
    # Sizes that are checked together, with the channels and the batch.
    "shape",
    "input_size",
    "resize",
    "crop_size",
    "stride",
    "pad_divisor",
    "in_channels",
    # At most as many as the user gives images.
    "calibration_images",
    # Times: nothing is taken for them.
    "max_batch_delay",
    "response_timeout",
}
"""Whole numbers without a maximum, and why they need none."""


def _options() -> Iterator[tuple[str, OptionSpec]]:
    session = Segplug()
    for hook in HOOKS:
        for entry in entries(hook):
            for spec in session.registry.load(entry).option_specs:
                yield f"{hook} {entry.target}", spec


def test_every_whole_number_has_a_maximum_or_a_reason() -> None:
    unbounded = {
        (owner, spec.name)
        for owner, spec in _options()
        if spec.type is int and spec.maximum is None and spec.name not in UNBOUNDED
    }
    assert unbounded == set(), "give the option a maximum"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 1.00 TiB for an array"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: x"
        ),
        cv2.error("OpenCV(4.8) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 99 bytes"),
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
    ],
)
def test_no_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("segplug.cli.root.root.invoke", fails)
    assert run_command_line(["plugins", "list"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: not enough memory")
    assert shown.count("\n") == 1


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("segplug.cli.root.root.invoke", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        run_command_line(["plugins", "list"])
    assert why_no_memory(KeyError("not enough memory")) is None

"""The tools for models of any kind take the models of transformers: other formats, engines, reports, servers.

They compare with the network in PyTorch, which ``test_labels.py`` compares with transformers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import transformers

from matrix import transformers_zoo
from matrix.transformers_configs import ENTRIES
from segplug.cli.root import run_command_line

FAST = ("segformer", "eomt")
"""Those that are tried in every run of the tests: a network of scores, and one of queries."""
FORMATS = {"torchscript": "model.pt", "torch-export": "model.pt2"}
IMAGE = (75, 131)


def _names(fast: Sequence[str]) -> list[Any]:
    return [
        pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in transformers_zoo.NAMES
    ]


def _run(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """What a command answers."""
    capsys.readouterr()
    code = run_command_line([*map(str, words), "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of one image, whose size is not the network's."""
    for folder in ("img", "ann"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    image = transformers_zoo.sample_image(*IMAGE)
    cv2.imwrite(str(tmp_path / "data" / "img" / "0.png"), image[:, :, ::-1])
    mask = np.arange(IMAGE[0])[:, None] // 15 + np.zeros(IMAGE, np.uint8)
    cv2.imwrite(str(tmp_path / "data" / "ann" / "0.png"), mask.astype(np.uint8))
    return tmp_path / "data"


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("name", _names(FAST))
def test_programs_of_torch(
    name: str,
    target: str,
    zoo: Callable[[str], Path],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image, file = data / "img" / "0.png", tmp_path / FORMATS[target]
    made = ("export", target, zoo(name), "--output", file, "--verify", "--input-img", image)
    verified = _run(capsys, *made)["verification"]
    assert verified["passed"]
    # On processors with AVX-512, PyTorch's own two ways differ by 4e-5 for Mask2Former.
    assert verified["relative_difference"] < 1e-4
    _run(capsys, "infer", target, file, "--input-img", image, "--out", tmp_path / "labels.npz")
    with np.load(tmp_path / "labels.npz") as labels:
        assert labels["0.png"].shape == IMAGE


@pytest.mark.parametrize("name", _names(("mobilevitv2",)))
def test_engines_and_packed_models(
    name: str, zoo: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")
    file = tmp_path / f"{name}.onnx"
    # A processor that keeps the ratio says no size.
    shape = ("--shape", *ENTRIES[name].size) if ENTRIES[name].sizing == "edges" else ()
    _run(capsys, "export", "onnx", zoo(name), "--output", file, *shape)
    for precision in ("fp32", "fp16"):
        engine = tmp_path / f"{precision}.engine"
        built = ("build_engine", "tensorrt", file, "--output", engine, "--precision", precision)
        _run(capsys, *built, "--flavor", "tensorrt-rtx")
        assert engine.stat().st_size > 0
    for subject in (file, zoo(name)):
        _run(capsys, "export", "torchserve", subject, "--output-folder", tmp_path / "archives", "--force")
        assert (tmp_path / "archives" / f"{name}.mar").is_file()
    _run(capsys, "export", "triton", file, "--output-folder", tmp_path / "repository")
    assert list((tmp_path / "repository").glob("*/config.pbtxt"))


@pytest.mark.parametrize("name", _names(("segformer",)))
def test_reports(
    name: str, zoo: Callable[[str], Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ENTRIES[name].size
    counted = _run(capsys, "analyze", "flops", zoo(name), "--shape", *size)
    theirs = getattr(transformers, ENTRIES[name].model).from_pretrained(zoo(name))
    assert counted["parameters"] == theirs.num_parameters()
    assert counted["macs"] > 0
    options = ("--dataset-options", "img_dir=img", "mask_dir=ann", "--backend", "torchscript")
    places = ("--dataset", data, "--work-dir", tmp_path / "work", "--images", "0")
    report = _run(capsys, "analyze", "parity", zoo(name), *places, *options)
    assert not report["failures"]
    (run,) = report["runs"]
    assert run["compared"]

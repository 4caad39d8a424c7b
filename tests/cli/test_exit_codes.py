"""The documented exit codes: 2 for a wrong command, such as a path that is not there, 1 for failed work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segplug.cli.root import run_command_line

FAULTY = """
    from segplug import hookimpl
    from segplug.options import NoOptions
    from segplug.providers import WeightConverter

    class Raises(WeightConverter[NoOptions]):
        '''Raises.'''
        hook_version = 2

        @hookimpl
        def convert_weights(self, request):
            raise {error}

    raises = Raises()
"""

SCORE = ("--eval", "mIoU")
DATASET = ("--dataset", "images")
ONNX = ("export", "onnx", "c.py", "--output", "o.onnx")
INFER = ("infer", "onnxruntime", "m.onnx")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a few files, none of which is a model."""
    monkeypatch.chdir(tmp_path)
    for name in ("images", "two", "two/masks", "two/labels", "empty"):
        Path(name).mkdir()
    for name in ("images/a.png", "two/a.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(name)
    for name in ("m.onnx", "w.pth", "c.txt"):
        Path(name).write_bytes(b"no such format")
    Path("c.py").write_text("model = dict(type='EncoderDecoder')\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "onnx", "none.py", "--output", "o.onnx"),
        ("export", "onnx", "c.txt", "--output", "o.onnx"),
        ("export", "onnx", "empty", "--output", "o.onnx"),
        ("export", "onnx", "python:no_such_module:f", "--output", "o.onnx"),
        (*ONNX, "--checkpoint", "none.pth"),
        (*ONNX, "--checkpoint", "empty"),
        (*ONNX, "--source", "none"),
        (*ONNX, "--source-options", "none=1"),
        (*ONNX, "--cfg-options", "a=(1,[2"),
        (*ONNX, "--shape", "1", "2", "3"),
        (*ONNX, "--no-addon", "none"),
        (*ONNX, "--addon-options", "none.x=1"),
        ("export", "onnx", "c.py", "--output", "w.pth"),
        ("export", "onnx", "c.py", "--output", "w.pth/o.onnx"),
        ("export", "triton", "none.onnx", "--output-folder", "r"),
        ("export", "torchserve", "none.onnx", "--output-folder", "r"),
        ("build_engine", "tensorrt", "none.onnx", "--output", "e"),
        ("infer", "onnxruntime", "none.onnx", *DATASET, *SCORE),
        (*INFER, "--dataset", "none", *SCORE),
        (*INFER, "--dataset", "none", "--dataset-source", "folder", *SCORE),
        (*INFER, *DATASET, "--dataset-source", "none", *SCORE),
        (*INFER, *DATASET, "--dataset-options", "img_dir=none", *SCORE),
        (*INFER, *DATASET, "--dataset-options", "mask_dir=none", *SCORE),
        (*INFER, "--dataset", "two", *SCORE),
        (*INFER, *DATASET, *SCORE),  # without masks
        (*INFER, *DATASET, "--eval", "none"),
        (*INFER, *DATASET, *SCORE, "--executor", "none"),
        (*INFER, *DATASET),
        (*INFER, "--input-img", "none.png", "--show-dir", "p"),
        (*INFER, "--input-img", "images/a.png", "images/a.png", "--show-dir", "p"),
        (*INFER, *DATASET, "--out", "w.pth/o.npz"),
        (*INFER, *DATASET, "--show-dir", "w.pth"),
        (*INFER, *DATASET, "--show-dir", "p", "--palette", "none"),
        (*INFER, *DATASET, "--show-dir", "p", "--show-parts", "none"),
        (*INFER, *DATASET, "--show-dir", "p", "--show-parts", "truth"),  # without masks
        (*INFER, *DATASET, "--report", "w.pth/r.html"),
        (*INFER, *DATASET, "--color", "w.pth"),
        (*INFER, *DATASET, *SCORE, "--palette", "distinct"),
        (*INFER, *DATASET, *SCORE, "--legend", "right"),
        (*INFER, *DATASET, *SCORE, "--report-images", "3"),
        ("infer", "http", "none", "--input-img", "images/a.png", "--show-dir", "p"),
        ("analyze", "flops", "none.py"),
        ("analyze", "logs", "none.json"),
        ("analyze", "config", "none.py"),
        ("analyze", "benchmark", "none.onnx"),
        ("analyze", "parity", "none.py"),
        ("analyze", "confusion", "none.npz", *DATASET),
        ("analyze", "serving", "--url", "http://127.0.0.1:9", "--image", "none.png"),
        ("analyze", "flops", "c.py", "--html", "w.pth/r.html"),
        ("convert_weights", "publish", "none.pth", "o.pth"),
        ("convert_weights", "publish", "w.pth", "w.pth/o.pth"),
    ],
)
def test_a_wrong_command_is_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["run", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize("arguments", [("infer", "m.onnx", "a.png"), (*INFER, "a.png", "--show-dir", "p")])
def test_an_image_without_its_flag_is_told_how_to_be_given(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: infer takes one model, and a.png stands behind it without a flag")
    assert "--input-img; segplug predict MODEL IMAGE" in line


@pytest.mark.parametrize(
    "arguments",
    [
        (*INFER, *DATASET, "--show-dir", "p"),  # damaged
        (*INFER, "--dataset", "empty", *SCORE),  # the folder is there, and has no image
        ("infer", "http", "http://127.0.0.1:9", "--input-img", "images/a.png", "--show-dir", "p"),
        ("convert_weights", "publish", "w.pth", "o.pth"),
        ("export", "onnx", "c.py", "--checkpoint", "w.pth", "--output", "o.onnx"),
    ],
)
def test_work_that_fails_is_1(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["run", *arguments]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("error", ["EOFError", "BrokenPipeError(32, 'x')", "KeyError('x')"])
def test_a_fault_is_no_interrupt_and_no_end_of_a_pipe(
    error: str, install_plugin: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """click takes an EOFError for Ctrl-C, and a broken pipe of the work for that of its reader."""
    entries = {"segplug.convert_weights": {"raises": "acme:raises"}}
    install_plugin("acme", entries, acme=FAULTY.format(error=error))
    with pytest.raises(Exception, match=r"x|^$") as caught:
        run_command_line(["run", "convert_weights", "raises", "w.pth", "o.pth"])
    assert type(caught.value).__name__ == error.partition("(")[0]

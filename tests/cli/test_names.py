"""File names with bytes that are not UTF-8, through the real command: read, written, shown, and in JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

NAME = b"d\xffs"

RUNS = """
    import numpy as np
    from segplug import Backend, EngineSpec, ModelMeta, hookimpl
    from segplug.options import NoOptions
    from segplug.testing.engines import FunctionEngine

    META = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)

    class Runs(Backend[NoOptions]):
        '''Runs.'''
        hook_version = 2
        reads = ("txt",)

        @hookimpl
        def infer(self, request):
            return FunctionEngine(EngineSpec(META, "logits"), lambda batch: np.roll(batch, 3, axis=3))

    runs = Runs()
"""


@pytest.fixture
def run(
    install_plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Runs ``segplug run``, in a folder with a data set of odd names and a model."""
    try:
        os.makedirs(os.fsencode(tmp_path) + b"/" + NAME + b"/images")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    install_plugin("acme", {"segplug.infer": {"runs": "acme:runs"}}, acme=RUNS)
    monkeypatch.chdir(tmp_path)
    os.mkdir(NAME + b"/masks")
    for place in range(2):
        Image.fromarray(np.full((16, 16, 3), 40 * place, np.uint8)).save("image.png")
        Image.fromarray(np.full((16, 16), place, np.uint8)).save("mask.png")
        shutil.move(b"image.png", NAME + b"/images/%d\xfe.png" % place)
        shutil.move(b"mask.png", NAME + b"/masks/%d\xfe.png" % place)
    Path("m.txt").write_text("a network")

    def runs(*arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
        command = [os.fsencode(word) for word in (sys.executable, "-m", "segplug", "run", *arguments)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, capture_output=True, timeout=100)

    return runs


def strict(document: bytes) -> Any:
    """A document that every parser of JSON takes: no lone surrogate in any text."""
    data = json.loads(document.decode("ascii"))
    json.dumps(data, ensure_ascii=False).encode("utf-8")
    return data


def test_a_run_reads_and_writes_them(run, tmp_path: Path) -> None:
    outputs = ["--show-dir", b"p\xff", "--confidence", b"c\xff", "--out", b"o\xff.npz", "--eval", "mIoU"]
    answer = run("infer", "runs", "m.txt", "--dataset", NAME, *outputs, "--json")
    assert answer.returncode == 0, answer.stderr.decode()
    assert strict(answer.stdout)["images"] == 2
    assert rb"wrote p\xff" in answer.stderr
    assert sorted(os.listdir(b"p\xff")) == [b"0\xfe.png", b"1\xfe.png"]
    assert sorted(os.listdir(b"c\xff")) == [b"0\xfe.npy", b"1\xfe.npy"]
    with np.load(os.fsdecode(b"o\xff.npz")) as arrays:
        assert sorted(arrays) == [r"0\xfe.png", r"1\xfe.png"]


def test_an_unreadable_image_is_named(run) -> None:
    Path(os.fsdecode(NAME + b"/images/0\xfe.png")).write_bytes(b"no image")
    words = ("infer", "runs", "m.txt", "--dataset", NAME, "--show-dir", "p", "--json")
    answer = run(*words)
    assert answer.returncode == 1
    assert r"0\xfe.png" in strict(answer.stdout)["error"]["message"]
    assert b"Traceback" not in answer.stderr
    answer = run(*words, "--resume", "--on-error", "skip")
    assert answer.returncode == 0, answer.stderr.decode()
    (skipped,) = strict(answer.stdout)["skipped"]
    assert skipped["name"] == r"0\xfe.png"


@pytest.mark.parametrize(
    "arguments",
    [
        ("infer", "runs", b"m\xff.txt", "--dataset", NAME, "--eval", "mIoU"),
        ("infer", "runs", b"none\xff.txt", "--dataset", NAME, "--eval", "mIoU"),
        ("infer", "runs", "m.txt", "--dataset", b"none\xff", "--eval", "mIoU"),
        ("infer", "runs", "m.txt", "--dataset", NAME, b"--eval\xff"),
        ("infer", b"runs\xff", "m.txt"),
        ("export", "triton", "m.txt", "--output-folder", b"r\xff"),
    ],
)
def test_what_cannot_be_opened_is_one_line(run, arguments: tuple[str | bytes, ...]) -> None:
    Path(os.fsdecode(b"m\xff.txt")).write_text("a network")
    answer = run(*arguments, "--json")
    assert answer.returncode == 2
    assert strict(answer.stdout)["error"]["message"]
    (line,) = answer.stderr.decode("utf-8").splitlines()
    assert line.startswith("error: ")
    assert rb"\xff" in answer.stderr or rb"\udcff" in answer.stderr

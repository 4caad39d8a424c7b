"""Every command that opens an artifact refuses one that may run code, unless --trust-artifact is given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from torchscript_support import hostile
from torchscript_support.networks import make_model

from segplug import Segplug
from segplug.cli.root import run_command_line

pytestmark = [pytest.mark.filterwarnings("ignore:.*jit.*:DeprecationWarning")]

HINT = "(if you trust whoever made it, add --trust-artifact: it may run code on this machine)"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The file that is there when hostile code has run."""
    return tmp_path / "made"


@pytest.fixture
def saves(tmp_path: Path, made: Path) -> Path:
    """A TorchScript file that writes a file when it runs."""
    path = tmp_path / "saves.pt"
    network = hostile.Saves(str(made))
    return hostile.scripted(network, path, make_model().meta.replace(classes=("a", "b", "c"), out_channels=3))


@pytest.fixture
def unpickles(tmp_path: Path, made: Path) -> Path:
    """A program that runs code when it is opened."""
    source = Segplug().export("torch-export", make_model(), output=tmp_path / "source.pt2").path
    changes = {hostile.SAMPLE: hostile.pickled(hostile.Touch(made))}
    return hostile.rewritten(source, tmp_path / "unpickles.pt2", changes)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.zeros((32, 48, 3), np.uint8))
    return path


def refusal(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one error line of a command that refuses."""
    code = run_command_line([str(argument) for argument in arguments])
    err = capfd.readouterr().err
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 1, err
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def test_infer(capfd, saves, unpickles, photo, made, tmp_path) -> None:
    out = ("--input-img", photo, "--out", tmp_path / "labels.npz")
    line = refusal(capfd, "run", "infer", "torchscript", saves, *out)
    assert line == f"error: {saves} uses torch.save, which segplug does not know to be harmless {HINT}"
    line = refusal(capfd, "run", "infer", "torch-export", unpickles, *out)
    assert f"{unpickles} holds a pickle that may run code: data/sample_inputs/model.pt {HINT}" in line
    assert not made.exists()
    arguments = ["run", "infer", "torchscript", saves, *out, "--trust-artifact"]
    assert run_command_line([str(argument) for argument in arguments]) == 0
    assert made.exists()


def test_benchmark(capfd, saves, made) -> None:
    command = ("run", "analyze", "benchmark", saves, "--runs", 1, "--warmup", 0)
    assert HINT in refusal(capfd, *command)
    assert not made.exists()
    assert run_command_line([*map(str, command), "--trust-artifact"]) == 0
    assert made.exists()


@pytest.mark.parametrize("server", ["torchserve", "triton"])
def test_packing(capfd, saves, made, tmp_path, server) -> None:
    command = ("run", "export", server, saves, "--output-folder", tmp_path / "store")
    assert HINT in refusal(capfd, *command)
    assert not made.exists()
    assert not (tmp_path / "store").exists()
    assert run_command_line([*map(str, command), "--trust-artifact"]) == 0
    if server == "torchserve":  # whoever packed it has said so: the server need not be told again
        with zipfile.ZipFile(tmp_path / "store" / "saves.mar") as archive:
            assert json.loads(archive.read("segplug-served.json"))["trust_artifact"] is True


def test_serve(saves, photo, made, tmp_path) -> None:
    command = [sys.executable, "-m", "segplug", "serve", str(saves), "--port", "0", "--json"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1
    assert refused.stderr.strip().endswith(HINT)
    assert not made.exists()
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen([*command, "--trust-artifact"], stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while "/predictions/" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def test_verification_trusts_what_the_call_has_made_alone(tmp_path, saves, made) -> None:
    session = Segplug()
    model = make_model()
    artifact = session.export("torchscript", model, output=tmp_path / "m.pt", verify=True)
    assert artifact.meta.verification["passed"]
    from segplug.errors import UntrustedError

    with pytest.raises(UntrustedError):
        session.verify(saves, model)
    with pytest.raises(UntrustedError):
        session.verify(artifact, saves, trust_artifact=True)
    assert not made.exists()


def test_compiled_packages_need_trust(capfd, tmp_path, photo) -> None:
    source = Segplug().export("torch-export", make_model(), output=tmp_path / "source.pt2").path
    path = hostile.rewritten(source, tmp_path / "aot.pt2", {"data/aotinductor/model/x.so": b"\x7fELF"})
    line = refusal(
        capfd, "run", "infer", "torch-export", path, "--input-img", photo, "--out", tmp_path / "o.npz"
    )
    assert f"{path} holds machine code, which cannot be checked {HINT}" in line

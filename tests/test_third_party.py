"""A third-party plugin, installed by pip, is found, listed and run, and its rules hold.

The tests that need the exported file are slow: the export takes most of their time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "segplug-openvino"
CONFIG, WEIGHTS = "demo/config.py", "demo/weights.pth"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The command line, in an environment in which only the example is installed in addition."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(EXAMPLE)], check=True)

    def command(
        *arguments: object, module: str = "segplug", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *(str(argument) for argument in arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(site), **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return command


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    done = run(
        *("run", "export", "onnx", CONFIG, "--checkpoint", WEIGHTS, "--output", path),
        *("--shape", 128, 256, "--dynamic", "--verify"),
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the demo's scenes, as a plain folder."""
    folder = tmp_path_factory.mktemp("scenes")
    subprocess.run(
        [sys.executable, "demo/make_data.py", "--root", str(folder), "--test", "3", "--train", "0"],
        cwd=ROOT,
        check=True,
    )
    return folder


def data(scenes: Path) -> tuple[str, ...]:
    return ("--dataset", CONFIG, "--cfg-options", f"data.test.data_root={scenes}", "--eval", "mIoU")


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_is_found_and_listed(run: Run) -> None:
    records = json.loads(run("plugins", "list", "--check", "--json").stdout)
    mine = {(entry["hook"], entry["target"]): entry for entry in records}
    assert mine["infer", "openvino"]["status"] == "available"
    assert mine["addon", "release-rules"]["distribution"] == "segplug-openvino"
    assert "openvino" in run("run", "infer").stdout


def test_its_options_are_flags_like_any_other(run: Run) -> None:
    assert "--arithmetic" in run("run", "infer", "openvino", "--help").stdout
    done = run("run", "infer", "openvino", "m.onnx", "--arithmetic", "f8")
    assert done.returncode == 2
    assert "bf16" in done.stderr


@pytest.mark.slow
def test_its_scores_are_those_of_onnx_runtime(run: Run, exported: Path, scenes: Path) -> None:
    theirs = document(run("run", "infer", "openvino", exported, *data(scenes), "--json"))
    ours = document(run("run", "infer", "onnxruntime", exported, *data(scenes), "--json"))
    assert theirs["scores"]["mIoU"] == pytest.approx(ours["scores"]["mIoU"], abs=5e-4)
    assert theirs["images"] == 3


@pytest.mark.slow
def test_its_rule_records_the_verified_artifact(exported: Path) -> None:
    from segplug.artifact import file_sha256

    record = json.loads(exported.with_name("model.onnx.release.json").read_text())
    assert record["sha256"] == file_sha256(exported)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["triton", "torchserve"])
def test_its_rule_records_what_is_packed(run: Run, exported: Path, tmp_path: Path, target: str) -> None:
    done = document(run("run", "export", target, exported, "--output-folder", tmp_path / "store", "--json"))
    packed = Path(done["artifact"]["path"])
    record = json.loads(packed.with_name(f"{packed.name}.release.json").read_text())
    assert record["sha256"] == done["artifact"]["sha256"]
    assert record["checkpoint_sha256"] == done["artifact"]["meta"]["provenance"]["checkpoint_sha256"]


def test_its_rule_refuses_an_untrained_model(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "untrained.onnx"
    done = run("run", "export", "onnx", CONFIG, "--output", path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: release rules: {CONFIG} was made without a checkpoint"
    assert not path.exists()


def test_its_rule_cannot_be_switched_off(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "untrained.onnx"
    done = run("run", "export", "onnx", CONFIG, "--output", path, "--no-addon", "release-rules")
    assert done.returncode == 1
    assert "must not be left out" in done.stderr
    assert not path.exists()


@pytest.mark.slow
def test_a_device_that_it_does_not_have(run: Run, exported: Path, scenes: Path) -> None:
    done = run("run", "infer", "openvino", exported, *data(scenes), "--device", "npu")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: OpenVINO has CPU, not NPU"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_conformance_suite_needs_one_fixture(run: Run, exported: Path) -> None:
    tests = EXAMPLE / "tests"
    done = run("-q", "-p", "no:cacheprovider", tests, module="pytest", SEGPLUG_ARTIFACT=str(exported))
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout

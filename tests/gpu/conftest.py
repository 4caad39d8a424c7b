"""Fixtures of the tests on a GPU, and the table of their results, shown at the end of the run.

make test-gpu                            sets up an environment first
python -m pytest -m gpu tests/gpu --gpu-report FILE.md|FILE.json
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest
from segplug_tensorrt.driver import Gpu, cuda_version, find_gpu

from segplug.errors import DeviceError, MissingDependencyError
from tests.gpu.demo import Demo, make_demo
from tests.gpu.engines import DEVICE, Engines
from tests.gpu.report import Machine, Report, as_markdown, write

SCENES = 20
"""The number of scenes that the demo scores."""

_REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpu")
    group.addoption(
        "--gpu-report", type=Path, metavar="FILE", help="write the table of results: .json, or Markdown"
    )


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    """The GPU. Every test that uses it is skipped if there is none."""
    try:
        return find_gpu(DEVICE)
    except (DeviceError, MissingDependencyError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return make_demo(tmp_path_factory.mktemp("demo"), SCENES)


@pytest.fixture(scope="session")
def gpu_report(gpu: Gpu, request: pytest.FixtureRequest) -> Report:
    """The table of this run."""
    return request.config.stash.setdefault(_REPORT, Report(_machine(gpu)))


@pytest.fixture(scope="session")
def engines(gpu: Gpu, demo: Demo, gpu_report: Report, tmp_path_factory: pytest.TempPathFactory) -> Engines:
    return Engines(demo, gpu, gpu_report, tmp_path_factory.mktemp("engines"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash.get(_REPORT, None)
    if report is None:
        return
    terminalreporter.section("GPU")
    terminalreporter.write_line(as_markdown(report))
    if path := config.getoption("--gpu-report", default=None):
        write(report, path)
        terminalreporter.write_line(f"wrote {path}")


def _machine(gpu: Gpu) -> Machine:
    capability = ".".join(map(str, gpu.compute_capability))
    return Machine(
        date=datetime.now(timezone.utc).date().isoformat(),
        device=f"{gpu.name} (compute capability {capability})",
        driver=f"{_driver_version()}CUDA {cuda_version()}",
    )


def _driver_version() -> str:
    """The driver's version from nvidia-smi; empty if there is no nvidia-smi, as in some containers."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return f"driver {said[0]}, " if said else ""

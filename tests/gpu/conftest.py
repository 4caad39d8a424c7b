"""What the tests of a GPU share, and the table that they fill, shown at the end of the run.

make test-gpu                            sets up an environment of its own first
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
from tests.gpu.demo import Demo, made_demo
from tests.gpu.engines import DEVICE, Engines
from tests.gpu.report import Machine, Report, as_markdown, write

SCENES = 20
"""As many as the demo scores."""

_REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpu")
    group.addoption(
        "--gpu-report", type=Path, metavar="FILE", help="write the GPU's table: .json, or Markdown"
    )


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    """The GPU; every test that asks for it is skipped where there is none."""
    try:
        return find_gpu(DEVICE)
    except (DeviceError, MissingDependencyError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return made_demo(tmp_path_factory.mktemp("demo"), SCENES)


@pytest.fixture(scope="session")
def gpu_report(gpu: Gpu, request: pytest.FixtureRequest) -> Report:
    """The run's one table."""
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
    """What nvidia-smi says, which containers do not always have: CUDA's own version tells enough then."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return f"driver {said[0]}, " if said else ""

"""Signals at many points of every kind of work: nothing half written, nothing left, the same results again.

All points are tested at night. A sample of them, chosen by the date, is tested each time.
"""

from __future__ import annotations

import datetime
import os
import random
import signal
import sys
import textwrap
from pathlib import Path

import pytest
from signal_driver.cases import BUILDER, CASES, NETWORKS, make_inputs
from signal_driver.driver import Driver

from segplug.testing.fixtures import Install

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be asked to end there")

POINTS = {
    "export onnx": {signal.SIGKILL: 20, signal.SIGINT: 2, signal.SIGTERM: 2},
    "export torchscript": {signal.SIGKILL: 20, signal.SIGINT: 2, signal.SIGTERM: 2},
    "export torch-export": {signal.SIGKILL: 20, signal.SIGINT: 2, signal.SIGTERM: 2},
}
"""How many points each signal has; those of the other cases are in :data:`OTHERS`."""
OTHERS = {signal.SIGKILL: 10, signal.SIGINT: 3, signal.SIGTERM: 3}

ALL = [
    (name, number, place, places)
    for name in CASES
    for number, places in POINTS.get(name, OTHERS).items()
    for place in range(places)
]
SEED = os.environ.get("SEGPLUG_SEED") or f"{datetime.date.today():%Y%m%d}"


def sample() -> list[tuple[str, signal.Signals, int, int]]:
    """One of the three slow exports, a point of every other case, and some more of these."""
    chooses = random.Random(SEED)
    names = [chooses.choice(list(POINTS)), *(name for name in CASES if name not in POINTS)]
    one_each = [chooses.choice([point for point in ALL if point[0] == name]) for name in names]
    more = [point for point in ALL if point[0] not in POINTS and point not in one_each]
    return [*one_each, *chooses.sample(more, 12 - len(one_each))]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the inputs of all cases."""
    root = tmp_path_factory.mktemp("signals")
    inputs = root / "inputs"
    inputs.mkdir()
    (inputs / "networks.py").write_text(textwrap.dedent(NETWORKS))
    make_inputs(inputs, {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"})
    return root


@pytest.fixture(scope="session")
def drivers() -> dict[Path, Driver]:
    """The driver of this session, which remembers undisturbed runs."""
    return {}


@pytest.fixture
def driver(root: Path, drivers: dict[Path, Driver], install_plugin: Install) -> Driver:
    """Runs cases; the builder is installed for them."""
    install_plugin("toys", {"segplug.build_engine": {"toy": "toys:toy"}}, toys=BUILDER)
    environment = {"PYTHONPATH": os.pathsep.join([str(root / "inputs"), *sys.path])}
    driver = drivers.setdefault(root, Driver(root, environment))
    driver.environment.update(environment)
    return driver


@pytest.mark.parametrize(("name", "number", "place", "places"), sample())
def test_a_sample_of_the_points(
    driver: Driver, name: str, number: signal.Signals, place: int, places: int
) -> None:
    print(f"repeat with SEGPLUG_SEED={SEED}")
    driver.check(name, number, place, places)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "number", "place", "places"), ALL)
def test_every_point(driver: Driver, name: str, number: signal.Signals, place: int, places: int) -> None:
    driver.check(name, number, place, places)

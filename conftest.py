"""Fixtures that every test of the repository may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real images and weights; a test that asks for them is skipped, and says so, without."""
    folder = Path(os.environ.get("SEGPLUG_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "models").is_dir():
        pytest.skip(
            f"no real data at {folder}: set SEGPLUG_DATA to the folder that holds models/ and camvid/"
        )
    return folder.resolve()


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep journals of tests out of the user's state folder."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    os.environ.pop("SEGPLUG_ADDONS", None)


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Let what tests start take Ctrl-C: a shell sets it aside for what it runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses the real data is marked so, for ``-m "not data"``."""
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run in which nothing was tested has not passed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.config.option.collectonly or reporter is None or exitstatus != 0:
        return
    if not reporter.stats.get("passed"):
        reporter.write_line("every test was skipped: nothing was tested")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

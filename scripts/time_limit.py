"""A pytest plugin for CI: run the tests of changed parts first, and stop in time.

    pytest -p scripts.time_limit --stop-at EPOCH_SECONDS [--changed-since COMMIT]

No test is begun after ``--stop-at``. What was left out for time is listed and counted at the end.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

import pytest

_LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the two options."""
    group = parser.getgroup("time limit")
    group.addoption("--stop-at", type=float, help="begin no test after this time, in seconds since 1970")
    group.addoption("--changed-since", help="run tests of parts that changed since this commit first")


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is left out yet."""
    config.stash[_LEFT_OUT] = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests of changed parts first; the order is otherwise kept."""
    base = config.getoption("--changed-since")
    if base:
        changed = changed_parts(_changed_files(base))
        items.sort(key=lambda item: part_of(item.nodeid.partition("::")[0]) not in changed)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Leave a test out if the time is up."""
    stop_at = item.config.getoption("--stop-at")
    if stop_at is None or time.time() < stop_at:
        return None
    item.config.stash[_LEFT_OUT].append(item.nodeid)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List what was left out."""
    left_out = config.stash[_LEFT_OUT]
    if not left_out:
        return
    terminalreporter.section(f"{len(left_out)} tests left out for time")
    for file, count in Counter(nodeid.partition("::")[0] for nodeid in left_out).items():
        terminalreporter.write_line(f"{file}: {count}")


def changed_parts(files: Iterable[str]) -> frozenset[str]:
    """The parts whose tests a change of these files concerns."""
    return frozenset(part_of(file) for file in files)


def part_of(file: str) -> str:
    """The part that a file of the repository belongs to: ``plugins/onnx``, or a room of the core."""
    parts = PurePosixPath(file).parts
    if parts[0] == "plugins" and len(parts) > 2:
        return f"plugins/{parts[1]}"
    if parts[0] in ("segplug", "tests") and len(parts) > 2:
        return parts[1]
    return parts[0]


def _changed_files(base: str) -> list[str]:
    done = subprocess.run(["git", "diff", "--name-only", base], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()

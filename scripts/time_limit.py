"""A pytest plugin for CI: run the tests of changed parts first, and stop in time.

    pytest -p scripts.time_limit --stop-at EPOCH_SECONDS [--changed-since COMMIT]

A test that would begin after ``--stop-at`` is skipped; such tests are listed and counted at the end.
It works with pytest-xdist.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

import pytest

_REASON = "left out for time"

_OF_ALL_PARTS = "fuzz"
"""The part whose tests use every command, and so concern every change."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the two options."""
    group = parser.getgroup("time limit")
    group.addoption("--stop-at", type=float, help="begin no test after this time, in seconds since 1970")
    group.addoption("--changed-since", help="run tests of parts that changed since this commit first")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests of all commands first, then those of changed parts; the order is otherwise kept."""
    base = config.getoption("--changed-since")
    if base:
        changed = changed_parts(_changed_files(base))

        def place(item: pytest.Item) -> tuple[bool, bool]:
            part = part_of(item.nodeid.partition("::")[0])
            return part != _OF_ALL_PARTS, part not in changed

        items.sort(key=place)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave a test out if the time is up."""
    stop_at = item.config.getoption("--stop-at")
    if stop_at is not None and time.time() >= stop_at:
        pytest.skip(_REASON)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that had no time for a single test has not failed: the tests before it have run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    ran = reporter and any(reporter.stats.get(kind) for kind in ("passed", "failed", "error"))
    if reporter and not ran and _left_out(reporter) == reporter.stats.get("skipped", []) != []:
        session.exitstatus = pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was left out."""
    left_out = _left_out(terminalreporter)
    if not left_out:
        return
    terminalreporter.section(f"{len(left_out)} tests {_REASON}")
    for file, count in Counter(report.nodeid.partition("::")[0] for report in left_out).items():
        terminalreporter.write_line(f"{file}: {count}")


def _left_out(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    return [report for report in reporter.stats.get("skipped", ()) if _REASON in str(report.longrepr)]


def changed_parts(files: Iterable[str]) -> frozenset[str]:
    """The parts whose tests a change of these files concerns."""
    return frozenset(part_of(file) for file in files)


def part_of(file: str) -> str:
    """The part that a file of the repository belongs to: ``plugins/onnx``, or a folder of the core."""
    parts = PurePosixPath(file).parts
    if parts[0] == "plugins" and len(parts) > 2:
        return f"plugins/{parts[1]}"
    if parts[0] in ("segplug", "tests") and len(parts) > 2:
        return parts[1]
    return parts[0]


def _changed_files(base: str) -> list[str]:
    done = subprocess.run(["git", "diff", "--name-only", base], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()

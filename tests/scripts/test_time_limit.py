"""CI runs the tests of changed parts first, stops in time, and lists what it left out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SUITE = {
    "tests/first/test_a.py": "def test_a(): pass\n",
    "plugins/onnx/tests/test_b.py": "def test_b(): pass\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two parts, of which plugins/onnx changed since the first commit."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for name, text in SUITE.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    source = tmp_path / "plugins" / "onnx" / "src" / "segplug_onnx" / "engine.py"
    source.parent.mkdir(parents=True)
    for text in ("old", "new"):
        source.write_text(text)
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
        subprocess.run([*git, "commit", "-qm", text], cwd=tmp_path, check=True)
    return tmp_path


def run(repository: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-v", "-p", "scripts.time_limit", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [*command, *options, "tests", "plugins"],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_tests_of_changed_parts_come_first(repository: Path) -> None:
    plain = run(repository).stdout
    assert plain.index("test_a PASSED") < plain.index("test_b PASSED")
    changed = run(repository, "--changed-since", "HEAD~1").stdout
    assert changed.index("test_b PASSED") < changed.index("test_a PASSED")


def test_tests_of_all_commands_come_before_them(repository: Path) -> None:
    file = repository / "tests" / "fuzz" / "test_c.py"
    file.parent.mkdir()
    file.write_text("def test_c(): pass\n")
    changed = run(repository, "--changed-since", "HEAD~1").stdout
    assert changed.index("test_c PASSED") < changed.index("test_b PASSED") < changed.index("test_a PASSED")


@pytest.mark.parametrize("parallel", [(), ("-n", "2")], ids=["alone", "parallel"])
def test_what_is_left_out_for_time_is_listed_and_counted(repository: Path, parallel: tuple[str, ...]) -> None:
    done = run(repository, *parallel, "--stop-at", str(time.time() - 1))
    assert done.returncode == 0
    assert "2 tests left out for time" in done.stdout
    assert "tests/first/test_a.py: 1" in done.stdout
    assert "plugins/onnx/tests/test_b.py: 1" in done.stdout
    assert "PASSED" not in done.stdout


def test_with_time_left_nothing_is_left_out(repository: Path) -> None:
    done = run(repository, "--stop-at", str(time.time() + 600))
    assert "2 passed" in done.stdout
    assert "left out" not in done.stdout

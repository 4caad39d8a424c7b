"""How environments are set up, with an interpreter that installs nothing, and how signals end it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = ROOT / "scripts" / "setup.sh"
STOPPABLE = ROOT / "scripts" / "stoppable.py"

FAKE = """#!/bin/sh
# A Python whose venv has itself, and whose pip writes down what it is asked for.
case "$1 $2" in
"-c "*) exit 0 ;;
"-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && touch "$4/bin/activate" ;;
"-m pip") echo "$*" >>"$CALLS" && echo "noise of pip" && case "$*" in *"${FAILS:-no such package}"*)
    echo "ERROR: no such distribution" >&2
    exit 1
    ;;
esac ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "python").write_text(FAKE)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def set_up(folder: Path, kind: str = "demo", **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "PYTHON": str(folder / "python"), "CALLS": str(folder / "calls"), **environment}
    return subprocess.run(
        ["sh", str(SETUP), "env", kind, "torch", "mmseg", "onnx"],
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_step_is_told_and_only_what_the_demo_needs_is_installed(folder: Path) -> None:
    done = set_up(folder)
    assert done.returncode == 0, done.stderr
    first, *steps = done.stdout.splitlines()
    assert first.startswith("setting up env: 4 steps")
    assert [line[:5] for line in steps] == [f"[{number}/4]" for number in (1, 1, 2, 2, 3, 3, 4, 4)]
    assert all(line.endswith(" ...") for line in steps[::2])
    assert all(line.endswith(" s") for line in steps[1::2])
    assert "noise" not in done.stdout + done.stderr
    calls = (folder / "calls").read_text()
    assert "-e .[runtime] -e ./plugins/torch -e ./plugins/mmseg[mmseg0] -e ./plugins/onnx[export]\n" in calls
    assert "pytest" not in calls


@pytest.mark.parametrize(
    ("kind", "wanted", "others"),
    [
        (
            "mmseg1",
            [" mmsegmentation mmengine mmcv-lite mmdet", "plugins/mmseg[mmseg1,"],
            ["onedl", "mmcv\n"],
        ),
        (
            "onedl",
            [" onedl-mmsegmentation onedl-mmengine mmdet mmpretrain\n", "--no-deps mmcv-lite\n"],
            [" mmseg", "mmseg1]"],
        ),
    ],
)
def test_one_environment_has_one_mmsegmentation(
    folder: Path, kind: str, wanted: list[str], others: list[str]
) -> None:
    done = set_up(folder, kind)
    assert done.returncode == 0, done.stderr
    calls = (folder / "calls").read_text()
    assert all("-c constraints.txt -c constraints-mmseg1.txt" in call for call in calls.splitlines())
    assert all(part in calls for part in wanted)
    assert not any(part in calls for part in others)
    assert "[mmseg0" not in calls


def test_what_fails_is_shown_and_ends_the_set_up(folder: Path) -> None:
    done = set_up(folder, FAILS="--no-build-isolation mmcv")
    assert done.returncode == 1
    assert "[3/4]" in done.stdout
    assert "[4/4]" not in done.stdout
    assert "ERROR: no such distribution" in done.stderr


def test_a_package_that_is_not_whole_is_installed_again(folder: Path) -> None:
    assert set_up(folder).returncode == 0
    packages = folder / "env/lib/python3.11/site-packages"
    for name in ("whole", "half"):
        (packages / f"{name}-1.0.dist-info").mkdir(parents=True)
    (packages / "whole-1.0.dist-info/INSTALLER").write_text("pip\n")
    assert set_up(folder).returncode == 0
    assert [path.name for path in packages.iterdir()] == ["whole-1.0.dist-info"]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("number", "to"),
    # A terminal interrupts the whole group; make itself passes on SIGTERM alone.
    [(signal.SIGINT, "group"), (signal.SIGTERM, "group"), (signal.SIGTERM, "make")],
)
def test_signals_end_all_that_make_has_started_with_one_line(
    tmp_path: Path, number: signal.Signals, to: str
) -> None:
    # A command that says that it was interrupted, and a child of it that would go on.
    command = "trap 'echo interrupted; exit 130' INT; sleep 600 & echo started; wait"
    (tmp_path / "command.sh").write_text(command)
    (tmp_path / "Makefile").write_text(
        f"it:\n\t@exec env MAKE_PID=$$PPID {sys.executable} {STOPPABLE} sh command.sh\n"
    )
    make = subprocess.Popen(
        ["make", "it"],
        cwd=tmp_path,
        # As a user's own make, not as one that the make of `make test` has started.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert make.stdout is not None
    assert make.stdout.readline() == "started\n"
    (os.killpg if to == "group" else os.kill)(make.pid, number)
    rest, _ = make.communicate(timeout=60)  # to the end of the child, too: it has the same stdout
    assert rest == "interrupted\n"
    assert make.returncode == -number


def test_the_exit_code_is_the_commands(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(STOPPABLE), "sh", "-c", "exit 7"], check=False)
    assert done.returncode == 7

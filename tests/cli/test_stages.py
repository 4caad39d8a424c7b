"""What long work says while it goes on: lines with times in a log, a live line on a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segplug.cli import stages
from segplug.cli.output import ConsoleReporter
from segplug.cli.stages import Stage, duration

LIVE = """
import signal, sys, time, warnings
from segplug.cli.output import ConsoleReporter
from segplug.cli.signals import run_until_stopped

def work():
    reporter = ConsoleReporter()
    with reporter.progress("loading", None):
        time.sleep(1.1)
        reporter.warn("said meanwhile")
    with reporter.progress("quick", None):
        pass
    with reporter.progress("checking", 2) as inputs:
        inputs.advance()
        time.sleep(0.3)
        signal.raise_signal(signal.SIGTERM)

sys.exit(run_until_stopped(work))
"""


def wait_for(capsys: pytest.CaptureFixture[str], text: str, shown: str = "") -> str:
    deadline = time.monotonic() + 30
    while text not in shown:
        assert time.monotonic() < deadline, shown
        time.sleep(0.01)
        shown += capsys.readouterr().err
    return shown


def test_a_log_says_what_goes_on_and_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_SAID_AFTER", 0.01)
    monkeypatch.setattr(stages, "_COUNT_EVERY", 0.02)
    monkeypatch.setattr(stages, "_TIME_EVERY", 0.02)
    reporter = ConsoleReporter()
    with reporter.progress("verifying", None):
        shown = wait_for(capsys, "so far")
        with reporter.progress("checking inputs", 5) as inputs:
            inputs.advance()
            inputs.advance()
            shown = wait_for(capsys, "2 of 5", shown)
    shown += capsys.readouterr().err
    lines = shown.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d [a-z]", line) for line in lines)
    said = [line[9:] for line in lines]
    assert said[0] == "verifying"
    assert said[1] == "verifying for 0.0 s so far"
    assert said.count("checking inputs") == 1
    assert not any(line.startswith("verifying") for line in said[said.index("checking inputs") :])
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_short_work_is_quiet_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_SAID_AFTER", 60)
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes a log no terminal
    with ConsoleReporter().progress("loading", None), ConsoleReporter().progress("images", 3) as images:
        images.advance()
    assert capsys.readouterr().err == ""


def test_a_terminal_is_left_clean(tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "60", "NO_COLOR": "1"},
        stdout=subprocess.DEVNULL,
        stderr=inside,
    )
    os.close(inside)
    shown = b""
    while select.select([terminal], [], [], 30)[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
    os.close(terminal)
    assert process.wait() == 143
    text = re.sub(r"\x1b\[\d*m", "", shown.decode())
    assert re.search(r"checking +1 of 2", text)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is hidden"
    assert [re.sub(r"[\d.]+ s$", "N s", line) for line in _kept(text)] == [
        "warning: said meanwhile",
        "  loading  N s",
        "error: interrupted",
    ]


def _kept(text: str) -> list[str]:
    """The lines that a terminal shows in the end, for text that goes up only to erase lines."""
    rows, row = [""], 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\n":
            row += 1
            rows += [""] if row == len(rows) else []
        elif part == "\x1b[2K":
            rows[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d+)A", part):
            row -= int(up[1])
        elif not part.startswith(("\x1b", "\r")):
            rows[row] += part
    return [line for line in rows if line]


def test_a_rate_leaves_out_what_was_done_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stage = Stage("images", 1000)
    stage.advance(500)  # by the run that is resumed
    for _ in range(5):
        now += 2.0
        stage.advance(10)
    assert stage.count() == ["550 of 1000", "5.0/s", "1 min 30 s left"]
    assert [duration(seconds) for seconds in (0.04, 9, 59.7, 3599.9, 7260)] == [
        "0.0 s",
        "9 s",
        "1 min 0 s",
        "1 h 0 min",
        "2 h 1 min",
    ]

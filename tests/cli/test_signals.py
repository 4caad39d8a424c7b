"""SIGTERM and Ctrl-C at the command line: an orderly end with 143 or 130, and nothing half written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segplug.cli.signals import run_until_stopped

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be asked to end there")

SLOW = """
    import os
    import sys
    import time
    from pathlib import Path
    import numpy as np
    from segplug import Backend, EngineSpec, ModelMeta, hookimpl
    from segplug.options import NoOptions
    from segplug.providers import WeightConverter
    from segplug.testing.engines import FunctionEngine

    META = ModelMeta("m", classes=("a", "b", "c"), out_channels=3)

    class Writes(WeightConverter[NoOptions]):
        '''Writes for ever.'''
        hook_version = 2

        @hookimpl
        def convert_weights(self, request):
            request.output.write_bytes(b"half")
            Path("started").touch()
            try:
                time.sleep(60)
            finally:
                time.sleep(float(os.environ.get("CLEANS", 0)))
                Path("cleaned").touch()

    class Runs(Backend[NoOptions]):
        '''Runs slowly.'''
        hook_version = 2
        reads = ("txt",)

        @hookimpl
        def infer(self, request):
            def network(batch):
                time.sleep(float(os.environ["DELAY"]))
                return np.roll(batch, 3, axis=3)
            return FunctionEngine(EngineSpec(META, "logits"), network)

    def imports():
        if "SLEEPS" in os.environ:  # not while the test installs it
            Path("started").touch()
            time.sleep(60)

    writes, runs = Writes(), Runs()
"""


@pytest.fixture
def start(
    install_plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.Popen[str]]:
    """Starts the command in a process of its own, in an empty folder."""
    entries = {
        "segplug.convert_weights": {"slow": "acme:writes", "imported": "late:provider"},
        "segplug.infer": {"slow": "acme:runs"},
    }
    install_plugin("acme", entries, acme=SLOW, late="import acme\nacme.imports()")
    monkeypatch.chdir(tmp_path)

    def starts(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        path = os.pathsep.join(sys.path)
        return subprocess.Popen(
            [sys.executable, "-m", "segplug", "run", *arguments],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "SLEEPS": "", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return starts


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_was_half_written_is_gone(start, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"weights")
    process = start("convert_weights", "slow", "w.pth", "out.pth")
    wait_until((tmp_path / "started").exists, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert (out, err.strip()) == ("", "error: interrupted")
    files = {path.name for path in tmp_path.iterdir()} - {"site", "cache"}
    assert files == {"w.pth", "started", "cleaned"}


def test_a_second_signal_does_not_break_into_the_cleaning_up(start, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"weights")
    process = start("convert_weights", "slow", "w.pth", "out.pth", CLEANS="0.5")
    wait_until((tmp_path / "started").exists, process)
    for _ in range(4):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert (tmp_path / "cleaned").exists()
    assert not list(tmp_path.glob(".segplug*"))


def test_the_signal_is_not_taken_for_a_fault_of_a_plugin(start, tmp_path: Path) -> None:
    """While it is imported: what a plugin raises then, SystemExit included, is an error in it."""
    (tmp_path / "w.pth").write_bytes(b"weights")
    process = start("convert_weights", "imported", "w.pth", "out.pth", "--json")
    wait_until((tmp_path / "started").exists, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert json.loads(out)["error"]["message"] == "interrupted"
    assert err.strip() == "error: interrupted"


def test_an_interrupted_run_goes_on(start, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for place in range(30):
        Image.fromarray(np.full((16, 16, 3), place, np.uint8)).save(tmp_path / "images" / f"{place:02}.png")
    (tmp_path / "m.txt").write_text("a network")
    command = ("infer", "slow", "m.txt", "--dataset", "images", "--show-dir", "painted", "--json")
    process = start(*command, DELAY="0.05")
    wait_until(lambda: len(list((tmp_path / "painted").glob("*.png"))) > 5, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert len(list((tmp_path / "painted").glob("[!.]*"))) < 30
    process = start(*command, "--resume", DELAY="0")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert 4 <= json.loads(out)["resumed"] < 30
    assert sorted(path.name for path in (tmp_path / "painted").iterdir()) == [
        f"{place:02}.png" for place in range(30)
    ]


def _raise_signal(number: int) -> int:
    signal.raise_signal(number)
    return 0


def test_signals_are_as_they_were_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> int:
        assert callable(signal.getsignal(signal.SIGTERM))
        return 3

    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert run_until_stopped(work) == 3
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        for number in (signal.SIGTERM, signal.SIGINT):
            assert run_until_stopped(partial(_raise_signal, number)) == 128 + number
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_signals_that_are_not_ours_stay_as_they_are() -> None:
    found: list[object] = []

    def work() -> int:
        found.append(signal.getsignal(signal.SIGTERM))
        return 3

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert run_until_stopped(work) == 3
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        thread = threading.Thread(target=run_until_stopped, args=(work,))
        thread.start()
        thread.join()
        assert found == [signal.SIG_IGN, signal.SIG_DFL]
    finally:
        signal.signal(signal.SIGTERM, before)


FORKS = """
import os, signal, sys, time
from segplug.cli.signals import run_until_stopped
def work():
    asleep, falls_asleep = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(falls_asleep, b".")
        time.sleep(60)
        os._exit(0)
    os.read(asleep, 1)
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(run_until_stopped(work))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_ends_as_any_process() -> None:
    answer = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=30)
    assert (answer.stdout, answer.stderr) == (f"{-signal.SIGTERM}\n", "")


SWALLOWS = """
import signal, sys, time
from segplug.cli.signals import run_until_stopped
class Caught:
    def __del__(self):
        signal.raise_signal(getattr(signal, sys.argv[1]))
        time.sleep(0.2)
def work():
    caught = Caught()
    del caught
    time.sleep(60)
    return 0
print(run_until_stopped(work))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_in_a_destructor_is_not_lost(name: str, code: int) -> None:
    command = [sys.executable, "-c", SWALLOWS, name]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (answer.stdout, answer.stderr) == (f"{code}\n", "error: interrupted\n")


IMPORTS = """
import sys
from segplug.cli.signals import run_until_stopped
def work():
    import torch
    import time
    time.sleep(60)
    return 0
print("ready", flush=True)
print(run_until_stopped(work))
"""


@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_torch_is_imported_is_an_orderly_end(number: int, delay: float) -> None:
    """Python code that torch's C++ code calls must not raise: the process would abort."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(delay)
    process.send_signal(number)
    answer = process.communicate(timeout=60)
    assert answer == (f"{128 + number}\n", "error: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_line_is_imported_is_one_line(number: int) -> None:
    code = "import os, sys; sys.argv = ['segplug', 'plugins', 'list']; from segplug.cli import main; " + (
        "print('ready', file=sys.stderr, flush=True); main()"
    )
    for delay in (0.01, 0.02, 0.03, 0.05, 0.08):
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        time.sleep(delay)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert errors in ("", "error: interrupted\n")
        # It may be killed before main() takes the signal, or after the command's end.
        assert process.returncode in (0, 128 + number, -number)

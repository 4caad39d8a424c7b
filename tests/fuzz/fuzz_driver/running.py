"""Run cases, each in a folder of its own, in a forked process or in a new interpreter."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from fuzz_driver.cases import Case
from fuzz_driver.layout import State, lay_out, quoted, state_of
from fuzz_driver.recipes import Output

__all__ = ["MOST_BYTES", "MOST_SECONDS", "Forks", "Outcome", "Session", "open_session"]

MOST_SECONDS = 120.0
"""Seconds after which a command counts as hung."""

MOST_BYTES = 3 << 30
"""Bytes of memory that a command and all its processes may take."""

_MODULES = str(Path(__file__).parents[1])


@dataclass(frozen=True)
class Outcome:
    """What a command did, as seen from outside."""

    arguments: tuple[str, ...]
    folder: Path
    code: int
    """As :func:`os.waitstatus_to_exitcode` gives it: negative for a signal."""
    stdout: bytes
    stderr: bytes
    seconds: float
    peak: int
    """Bytes."""
    stopped: str
    """``time`` or ``memory`` if it was killed; ``served`` if it was a server that got SIGTERM in the end."""
    served: int | None
    """The status of a server's answer to one good request."""
    left: int
    """Processes that it left."""
    marks: tuple[str, ...]
    """``parsed``, then the hooks that were called."""
    before: State
    after: State
    outputs: tuple[Output, ...]
    """The paths that it was asked to write."""

    @property
    def command_line(self) -> str:
        return "segplug " + " ".join(quoted(word) for word in self.arguments)


class Forks:
    """A process that forks for each case (:mod:`fuzz_driver.server`)."""

    def __init__(self, folder: Path) -> None:
        environment = {
            **os.environ,
            **_threads(),
            "PYTHONPATH": os.pathsep.join(filter(None, [_MODULES, os.environ.get("PYTHONPATH", "")])),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz_driver.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "forks.txt").open("a"),
            text=True,
            env=environment,
        )
        self._answer()

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run one request and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that forks ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Session:
    """What all cases of a run share."""

    folder: Path
    inputs: Path
    url: str
    """The address of a server of the small model."""

    def run(self, forks: Forks, case: Case, *, plain: bool = False) -> Outcome:
        """Run a case in a folder of its own.

        Args:
            forks: Runs it.
            case: The case.
            plain: Run it in a new interpreter, as a user does; a server never.
        """
        folder = self.folder / f"case-{case.number}"
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("work/in", "work/out", "home", "tmp", "gone"):
            (folder / name).mkdir(parents=True)
        arguments = (*case.command.words, *lay_out(case, self.inputs, folder / "work", self.url))
        request = self._request(case, folder, arguments)
        before = state_of(folder)
        answer = _run_plainly(request) if plain and case.command.hook else forks.run(request)
        return Outcome(
            arguments,
            folder,
            answer["code"],
            _read(request["stdout"]),
            _read(request["stderr"]),
            answer["seconds"],
            answer["peak"],
            answer["stopped"],
            answer["served"],
            answer["left"],
            tuple(_read(request["marks"]).decode().split("\n")[:-1]),
            before,
            state_of(folder),
            tuple(word for word in case.words if isinstance(word, Output)),
        )

    def opens(self, forks: Forks, outcome: Outcome) -> str:
        """Open all files that a command wrote; returns why one cannot be opened, or an empty text."""
        new = [outcome.folder / path for path in outcome.after.keys() - outcome.before.keys()]
        files = [str(path) for path in new if path.is_file()]
        log = str(outcome.folder / "opened")
        if not files:
            return ""
        answer = forks.run(_call("fuzz_driver.checks:open_outputs", files, outcome.folder, log))
        return _read(log).decode(errors="replace").strip().rpartition("\n")[2] if answer["code"] else ""

    def _request(self, case: Case, folder: Path, arguments: tuple[str, ...]) -> dict[str, Any]:
        full, gone = "/dev/full", "folder gone" in case.surroundings
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SEGPLUG", "XDG"))},
            **_threads(),
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "home" / "state"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "TMPDIR": str(folder / "tmp"),
            "DISPLAY": "",
        }
        if "no TMPDIR" in case.surroundings:
            environment["TMPDIR"] = str(folder / "no" / "such")
        if "no HOME" in case.surroundings:
            environment |= {"HOME": "/proc/nothing", "XDG_STATE_HOME": "/proc/nothing/state"}
        if "narrow terminal" in case.surroundings:
            environment["COLUMNS"] = "20"
        return {
            "call": "",
            "arguments": arguments,
            "folder": str(folder / "gone" if gone else folder / "work"),
            "folder_gone": gone,
            "environment": environment,
            "encoding": "ascii" if "ASCII terminal" in case.surroundings else "utf-8",
            "stdout": full if "stdout full" in case.surroundings else str(folder / "stdout"),
            "stderr": full if "stderr full" in case.surroundings else str(folder / "stderr"),
            "marks": str(folder / "marks"),
            "most_seconds": MOST_SECONDS,
            "most_bytes": MOST_BYTES,
            "serves": not case.command.hook,
            "image": str(self.inputs / "data" / "images" / "0.png"),
            "token": "secret",
        }


@contextmanager
def open_session(folder: Path, processes: int = 1) -> Iterator[tuple[Session, SimpleQueue[Forks]]]:
    """Make the inputs and start what all cases share; everything is ended on leaving.

    Args:
        folder: For all files.
        processes: How many cases may run at the same time.
    """
    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    (folder / "cache").mkdir()
    idle: SimpleQueue[Forks] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(processes):
            forks = Forks(folder)
            stack.callback(forks.close)
            idle.put(forks)
        _make_inputs(forks, folder, inputs)
        url = stack.enter_context(_server(folder, inputs / "tiny.onnx"))
        yield Session(folder, inputs, url), idle


def _make_inputs(forks: Forks, folder: Path, inputs: Path) -> None:
    log = str(folder / "inputs.txt")
    answer = forks.run(_call("fuzz_driver.inputs:make_inputs", [str(inputs)], folder, log))
    if answer["code"] != 0:
        raise RuntimeError(f"the inputs cannot be made: {_read(log).decode()}")


def _call(function: str, arguments: list[str], folder: Path, log: str) -> dict[str, Any]:
    """A request that calls a function of the driver."""
    return {
        **{"call": function, "arguments": arguments, "folder": str(folder), "folder_gone": False},
        **{"environment": {**os.environ, **_threads()}, "encoding": "utf-8", "stdout": log, "stderr": log},
        **{"marks": "", "most_seconds": 600, "most_bytes": 1 << 40, "serves": False},
    }


@contextmanager
def _server(folder: Path, model: Path) -> Iterator[str]:
    """A server of the small model; yields its address."""
    command = [sys.executable, "-m", "segplug", "serve", str(model), "--name", "tiny", "--port", "0"]
    log = folder / "server.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--threads", "1"], stdout=output, stderr=output, env={**os.environ, **_threads()}
        )
    try:
        until = time.monotonic() + 60
        while not (found := re.search(rb"http://[0-9.]+:[0-9]+", log.read_bytes())):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no server: {log.read_text()}")
            time.sleep(0.1)
        yield found.group().decode()
    finally:
        process.terminate()
        process.wait(timeout=60)


def _run_plainly(request: dict[str, Any]) -> dict[str, Any]:
    """Run a request in a new interpreter, without a bound of its memory."""
    began = time.monotonic()
    with open(request["stdout"], "ab") as stdout, open(request["stderr"], "ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "segplug", *(os.fsencode(word) for word in request["arguments"])],
            cwd=request["folder"],
            env={**request["environment"], "PYTHONIOENCODING": request["encoding"]},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        process.wait(timeout=request["most_seconds"])
        stopped = ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        stopped = "time"
    seconds = time.monotonic() - began
    return {
        **{"code": process.returncode, "seconds": seconds, "peak": 0},
        **{"stopped": stopped, "served": None, "left": 0},
    }


def _threads() -> dict[str, str]:
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes() if not path.startswith("/dev/") else b""
    except OSError:
        return b""

"""Start a candidate's process, send it commands, and end it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from segplug import errors
from segplug.errors import PluginError, SegplugError
from segplug_analysis.benchmark.candidates import Candidate

__all__ = ["Worker", "pool", "wait_policy"]

_MODULE = "segplug_analysis.benchmark.worker"
_END_TIMEOUT = 5.0
"""Seconds that a process gets to end by itself when its work is done."""
_QUOTED_LINES = 3
"""Lines of stderr that the error about a failed process quotes."""


class Worker:
    """A process that opens the engine of one candidate.

    It runs in a session of its own: Ctrl-C reaches only the parent, which then ends the process. It ends
    by itself when the parent has died.
    """

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
            env=_environment(),
            start_new_session=True,
        )
        self.start_seconds = 0.0
        """From the start of the process until its engine was open."""

    def open(self) -> dict[str, Any]:
        """Open the engine; returns what it takes and gives."""
        engine = self.ask(asdict(self.candidate))
        self.start_seconds = time.perf_counter() - self._started
        return engine

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send one command and wait for the answer.

        Raises:
            SegplugError: the process raised it; the same class, with the candidate's name.
            PluginError: the process raised another error, or has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # the answer is then missing, which is the error below
            self._process.stdin.write(json.dumps(command, default=str) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._failed(answer)
        return answer

    def end(self) -> None:
        """Let the process end by itself, now that its work is done."""
        self._close_stdin()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_TIMEOUT)

    def kill(self) -> None:
        """End the process at once, whatever it is doing, and close its streams."""
        self._process.kill()
        self._process.wait()
        self._close_stdin()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._stderr.close()

    def _close_stdin(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def _failed(self, answer: Mapping[str, Any]) -> SegplugError:
        name, message = self.candidate.name, answer["message"]
        kind = getattr(errors, answer["error"], None) if answer["known"] else None
        if isinstance(kind, type) and issubclass(kind, SegplugError):
            return kind(f"{name}: {message}", hint=answer["hint"])
        return PluginError(f"{name}: {answer['error']}: {message}; {self._end_of_stderr()}")

    def _ended(self) -> PluginError:
        code = self._process.wait()
        how = f"code {code}" if code >= 0 else f"signal {_signal_name(-code)}"
        killed = code == -getattr(signal, "SIGKILL", 9)
        return PluginError(
            f"{self.candidate.name}: its process ended with {how}; {self._end_of_stderr()}",
            hint="the system kills a process when memory runs out" if killed else None,
        )

    def _end_of_stderr(self) -> str:
        self._stderr.seek(0)
        text = self._stderr.read().decode("utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return (
            "the end of its stderr: " + " / ".join(lines[-_QUOTED_LINES:]) if lines else "its stderr is empty"
        )


@contextmanager
def pool() -> Iterator[Callable[[Candidate], Worker]]:
    """Give a function that starts workers; at the end of the context, also after an error, all are ended."""
    workers: list[Worker] = []

    def start(candidate: Candidate) -> Worker:
        workers.append(Worker(candidate))
        return workers[-1]

    try:
        yield start
        for worker in workers:
            worker.end()
    finally:
        for worker in workers:
            worker.kill()


def wait_policy() -> str:
    """What OpenMP threads do between two runs. Threads that spin would slow the other engines."""
    return os.environ.get("OMP_WAIT_POLICY", "PASSIVE")


def _environment() -> dict[str, str]:
    """The parent's environment and import path, so that the process finds the same packages."""
    return {
        **os.environ,
        "OMP_WAIT_POLICY": wait_policy(),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONSAFEPATH": "1",  # a numpy.py in the current folder is not the library
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)

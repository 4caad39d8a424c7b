"""The parent's side of a candidate's process: start it, ask it, and leave nothing behind."""

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
_PATIENCE = 5.0
"""Seconds that a process has for ending by itself when its work is done."""
_LAST_WORDS = 3
"""Lines of stderr that the error about a process that broke down quotes."""


class Worker:
    """A process that opens the engine of one candidate.

    Its own session keeps Ctrl-C from it: the parent alone decides when it ends. It ends by itself when
    the parent is gone.
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
        """Open the engine; what it takes and gives."""
        found = self.ask(asdict(self.candidate))
        self.start_seconds = time.perf_counter() - self._started
        return found

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Give one order and wait for the answer.

        Raises:
            SegplugError: what the process raised, of the same class, with the candidate's name.
            PluginError: the process met a bug, or it is no more.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # then there is no answer either, and that is an error
            self._process.stdin.write(json.dumps(order, default=str) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise self._broken_down()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._failed(answer)
        return answer

    def end(self) -> None:
        """Let the process end by itself, now that its work is done."""
        self._close_stdin()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)

    def kill(self) -> None:
        """Nothing of the process is left afterwards, whatever it is doing."""
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
        return PluginError(f"{name}: {answer['error']}: {message}; {self._last_words()}")

    def _broken_down(self) -> PluginError:
        code = self._process.wait()
        how = f"code {code}" if code >= 0 else f"signal {_signal_name(-code)}"
        killed = code == -getattr(signal, "SIGKILL", 9)
        return PluginError(
            f"{self.candidate.name}: its process ended with {how}; {self._last_words()}",
            hint="the system kills a process when memory runs out" if killed else None,
        )

    def _last_words(self) -> str:
        self._stderr.seek(0)
        text = self._stderr.read().decode("utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return "its last words: " + " / ".join(lines[-_LAST_WORDS:]) if lines else "it said nothing"


@contextmanager
def pool() -> Iterator[Callable[[Candidate], Worker]]:
    """Starts processes; however the context ends, all of them are gone then."""
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
    """What OpenMP threads do between two runs. Those that spin would take the processors of the others."""
    return os.environ.get("OMP_WAIT_POLICY", "PASSIVE")


def _environment() -> dict[str, str]:
    """The parent's own environment and import path: what it finds installed, the process finds."""
    return {
        **os.environ,
        "OMP_WAIT_POLICY": wait_policy(),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONSAFEPATH": "1",  # a module in the folder that the user is in must not be taken for a library
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)

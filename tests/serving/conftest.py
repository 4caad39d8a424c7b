"""A small engine with predictable answers, and a real HTTP server around the shared handler."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image

from segplug.engine import EngineSpec
from segplug.model import ModelMeta
from segplug.preprocessing import usual_steps
from segplug.serving.answers import Answer
from segplug.serving.requests import CONTROLS, Request
from segplug.serving.service import Service
from segplug.testing import FunctionEngine

META = ModelMeta(
    name="bright",
    classes=("low", "high"),
    palette=((0, 0, 0), (255, 0, 0)),
    out_channels=2,
    preprocessing=usual_steps((127.5,) * 3, (60.0,) * 3),
)


def bright(image: np.ndarray) -> np.ndarray:
    """The labels that the engine gives."""
    return (image.astype(np.float64).mean(axis=2) > 127.5).astype(np.uint8)


def bright_engine(meta: ModelMeta = META, **axes) -> FunctionEngine:
    def logits(batch: np.ndarray) -> np.ndarray:
        mean = batch.mean(axis=1)
        return np.stack([-mean, mean], axis=1).astype(np.float32)

    return FunctionEngine(EngineSpec(meta=meta, output="logits", backend="bright", **axes), logits)


def encoded(image: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def pixels(content: bytes) -> np.ndarray:
    """The values of a PNG: labels where it has a palette, BGR where it has colours."""
    with Image.open(io.BytesIO(content)) as picture:
        if picture.mode == "P":
            return np.asarray(picture)
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def noise(height: int = 24, width: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


Answering = Callable[[Request], Answer]


@contextmanager
def http_server(answering: Answering, *, query: bool = True) -> Iterator[str]:
    """Serve ``answering`` on loopback; yields the address of the predictions of the model ``m``.

    Without ``query`` it ignores the query, as TorchServe does.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = parse_qs(urlsplit(self.path).query)
            controls = {
                name: asked.get(name, [""])[0] if query else self.headers.get(header, "")
                for name, header in CONTROLS.items()
            }
            answer = answering(Request(body or None, self.headers.get("Content-Type", ""), **controls))
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Type": answer.content_type}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/predictions/m"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def service() -> Service:
    return Service(bright_engine(), batch_size=4)


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    lock = threading.Lock()

    def answering(request: Request) -> Answer:
        with lock:
            return service.answer([request])[0]

    with http_server(answering) as address:
        yield address

"""An HTTP server with a real model for the tests of ``analyze serving``. A test may change its answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

from segplug.api import Segplug
from segplug.engine import Engine
from segplug.model import ModelMeta
from segplug.results import AnalyzeReport
from segplug.serving.answers import Answer, png, refusal
from segplug.serving.client import decode_mask
from segplug.serving.requests import Request
from segplug.serving.service import Service
from segplug.verification.sample import sample_image

ROOT = Path(__file__).resolve().parents[4]
CONFIG = ROOT / "demo" / "config.py"
WEIGHTS = ROOT / "demo" / "weights.pth"

# The demo's network with a small input, which takes little time.
SMALL = {"data.test.pipeline.1.img_scale": (64, 32)}

NAME = "street"

ChangeAnswer = Callable[[int, bytes, Answer], Answer | None]
"""Called with the number of the request (from 0), its body and the true answer; gives the answer to send.
``None``: send nothing and close the connection."""


@dataclass
class Served:
    """A running server."""

    address: str
    bodies: list[bytes] = field(default_factory=list)
    """The bodies of the requests for masks, in the order of the answers."""
    tokens: set[str | None] = field(default_factory=set)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"{self.address}/predictions/{NAME}"


class _Batches:
    """One thread runs the engine and answers all waiting requests together, as servers do."""

    def __init__(self, service: Service, size: int) -> None:
        self._service, self._size = service, size
        self._waiting: queue.Queue[tuple[Request, Future[Answer]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def answer(self, request: Request) -> Answer:
        future: Future[Answer] = Future()
        self._waiting.put((request, future))
        return future.result(timeout=60)

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            while len(batch) < self._size:
                try:
                    more = self._waiting.get(timeout=0.02)
                except queue.Empty:
                    break
                if more is None:
                    self._waiting.put(None)
                    break
                batch.append(more)
            answers = self._service.answer([request for request, _ in batch])
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)


@contextmanager
def serve(
    engine: Engine,
    *,
    change_answer: ChangeAnswer | None = None,
    batch_size: int = 1,
    meta: ModelMeta | None = None,
) -> Iterator[Served]:
    """Serve an engine on a free port; with ``meta`` the server reports this metadata instead."""
    service = Service(engine, batch_size=batch_size)
    service.meta = meta or service.meta
    batches = _Batches(service, batch_size)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with lock:
                served.connections += 1

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, body: bytes | None) -> None:
            parts = urlsplit(self.path)
            if parts.path != f"/predictions/{NAME}":
                return self._send(refusal(404, f"Model not found: {parts.path.rpartition('/')[2]}"))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            kind = self.headers.get("Content-Type", "")
            answer: Answer | None = batches.answer(Request(body, kind, output=query.get("output", "")))
            if body is not None:
                with lock:
                    number = len(served.bodies)
                    served.bodies.append(body)
                    served.tokens.add(self.headers.get("Authorization"))
                if change_answer is not None:
                    answer = change_answer(number, body, answer) if answer else None
            self._send(answer)

        def _send(self, answer: Answer | None) -> None:
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Type": answer.content_type}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # the client has closed the connection

    server = Server(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        batches.close()


def with_mask(answer: Answer, change: Callable[[Any], Any]) -> Answer:
    """The answer with its labels changed."""
    labels = decode_mask(answer.body, "toy")
    return Answer(200, png(change(labels)), answer.content_type, answer.headers)


def write_pictures(folder: Path, count: int = 3) -> list[Path]:
    """Images of several sizes; the second is a JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index in range(count):
        image = np.roll(sample_image(40 + 8 * index, 80), 17 * index, axis=1)
        file = folder / f"{index}{'.jpg' if index == 1 else '.png'}"
        cv2.imwrite(str(file), image)
        files.append(file)
    return files


def analyze(served: Served, images: list[Path], *, compared: bool = True, **options: Any) -> AnalyzeReport:
    """The report, by default with few requests and the comparison with PyTorch."""
    reference = {"config": str(CONFIG), "checkpoint": str(WEIGHTS), "cfg_options": SMALL} if compared else {}
    settings = {"concurrency": (1,), "requests": 6, "warmup": 1, "threads": 1 if compared else None}
    asked = {"url": served.url, "image": tuple(images), **reference, **settings, **options}
    return Segplug().analyze("serving", **asked)


def table(report: AnalyzeReport, title: str) -> list[dict[str, Any]]:
    """The rows of a table, by column; none where the report has no such table."""
    return [
        dict(zip(found.columns, row, strict=True))
        for found in report.tables
        if found.title == title
        for row in found.rows
    ]

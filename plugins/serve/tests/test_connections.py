"""Clients that keep connections idle, or do not read their answers."""

from __future__ import annotations

import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from segplug_serve.connections import max_connections
from serve_support.models import paced_labels
from serve_support.servers import Running, picture, png

pytestmark = pytest.mark.server

resource = pytest.importorskip("resource")

FEW = 80
"""Descriptors of a server that has few."""


def _connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def _head(server: Running, length: int, query: str = "") -> bytes:
    path = f"/predictions/{server.model}{query}"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


@contextmanager
def _unread(server: Running) -> Iterator[socket.socket]:
    """A request whose answer is too large for the system's buffers, and which is not read."""
    image = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), dtype=np.uint8)
    body = png(image)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(_head(server, len(body), "?output=painted&opacity=0.1") + body)
        answered = frozenset({("status", "200"), ("output", "painted")})
        _wait_for(server, lambda found: found.get(("segplug_requests_total", answered)) == 1)
        yield connection


def _wait_for(server: Running, true) -> None:
    deadline = time.monotonic() + 30
    while not true(server.metrics()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _in_server(found) -> float:
    return found["segplug_requests_in_flight", frozenset()]


def _arriving(found) -> float:
    return found["segplug_requests_arriving", frozenset()]


def _rest(connection: socket.socket) -> bytes:
    """The bytes until the server closes the connection."""
    received = b""
    try:
        while more := connection.recv(1 << 20):
            received += more
    except ConnectionError:
        pass
    return received


@pytest.fixture
def few(paced, monkeypatch, tmp_path) -> Running:
    """A server that may open few descriptors."""
    limited = tmp_path / "python"
    limited.write_text(f'#!/bin/sh\nulimit -n {FEW}\nexec {shlex.quote(sys.executable)} "$@"\n')
    limited.chmod(0o755)
    monkeypatch.setattr("serve_support.servers.sys.executable", str(limited))
    return paced(0.0)


def test_idle_connections_do_not_block_others(few):
    with ExitStack() as stack:
        for _ in range(3 * FEW):
            stack.enter_context(_connect(few))
        for seed in range(3):
            assert few.ask("GET", "/health").status == 200
            image = picture(seed)
            assert np.array_equal(few.post(png(image)).image, paced_labels(image))
        assert few.metrics()["process_open_fds", frozenset()] < FEW
    log = few.log.read_text()
    assert "idle ones are closed early" in log
    assert len(log.splitlines()) < 10, log
    assert few.stop() == 0


def test_connections_with_a_request_are_kept_when_there_are_too_many(few):
    image = picture(1)
    body = png(image)
    with _connect(few) as first, ExitStack() as stack:
        first.sendall(_head(few, len(body)) + body[:100])
        _wait_for(few, lambda found: _arriving(found) == 1)
        for _ in range(3 * FEW):
            stack.enter_context(_connect(few))
        assert few.ask("GET", "/health").status == 200
        first.sendall(body[100:])
        assert first.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("hard", [1, 4])
def test_the_limit_of_descriptors_is_raised_if_allowed(monkeypatch, hard):
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (512, 512 * hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert max_connections() == {1: 448, 4: 1000}[hard]
    assert asked == [{1: (512, 512), 4: (1064, 2048)}[hard]]


def test_an_unread_answer_counts_as_in_flight_until_it_is_aborted(paced):
    server: Running = paced(0.0, "--timeout", "4")
    with _unread(server) as connection:
        assert _in_server(server.metrics()) == 1, "the answer is still in memory"
        _wait_for(server, lambda found: _in_server(found) == 0)
        answer = _rest(connection)
        assert answer.startswith(b"HTTP/1.1 200")
        length = int(answer.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert len(answer) < length


def test_an_answer_that_is_read_slowly_is_complete(paced):
    server: Running = paced(0.0)
    with _unread(server) as connection:
        received = connection.recv(1000)
        head = received.partition(b"\r\n\r\n")[0]
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]) + len(head) + 4
        while len(received) < length and (more := connection.recv(1 << 20)):
            received += more
        assert len(received) == length
        _wait_for(server, lambda found: _in_server(found) == 0)


def test_shutdown_waits_for_the_model_and_not_for_slow_clients(paced):
    server: Running = paced(0.0, "--timeout", "3600")
    with _unread(server), _connect(server) as stalled:
        stalled.sendall(_head(server, 1000) + b"x")
        _wait_for(server, lambda found: _in_server(found) == _arriving(found) == 1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
        assert _rest(stalled) == b""
    assert "Traceback" not in server.log.read_text()

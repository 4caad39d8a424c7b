"""Clients that send too much, too slowly, too many requests at once, or no token."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from segplug_serve.connections import HEADER_SECONDS
from serve_support.models import paced_labels
from serve_support.servers import Running, form_of, picture, png

pytestmark = pytest.mark.server

MOST = 100_000


@pytest.fixture(scope="module")
def small(paced) -> Running:
    """A server that takes little, and waits one second."""
    return paced(0.0, "--max-bytes", str(MOST), "--timeout", "1")


def _connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def _status(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n" not in received and (more := connection.recv(1000)):
        received += more
    return received.split(b"\r\n")[0]


def test_too_many_bytes_are_refused_and_the_client_gets_the_reason(small):
    body = bytes(5_000_000)
    form, kind = form_of(image=body)
    for sent, content_type in (
        (body, "image/png"),
        (iter([body[:50_000]] * 100), "image/png"),  # chunked, counted as it comes
        (form, kind),
        (iter([form[:50_000], form[50_000:]]), kind),
        (b'{"image": "' + body + b'"}', "application/json"),
    ):
        answer = small.post(sent, content_type=content_type)
        assert answer.status == 413
        assert str(MOST) in answer.json["error"]
    image = picture(1)
    assert np.array_equal(small.post(png(image)).image, paced_labels(image))


def test_a_large_content_length_is_refused_before_the_body_is_sent(small):
    with _connect(small) as connection:
        connection.sendall(
            f"POST /predictions/{small.model} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert _status(connection).startswith(b"HTTP/1.1 413")


def test_an_incomplete_body_times_out(small):
    for head in ("Content-Length: 1000", "Transfer-Encoding: chunked"):
        with _connect(small) as connection:
            connection.sendall(
                f"POST /predictions/{small.model} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode()
            )
            assert _status(connection).startswith(b"HTTP/1.1 408")


def test_a_disconnected_client_is_not_counted_as_arriving(small):
    path = f"/predictions/{small.model}"
    for _ in range(3):
        with _connect(small) as connection:
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab".encode())
    _wait_for(small, "segplug_requests_arriving", 0)
    assert small.metrics()["segplug_body_bytes", frozenset()] == 0


def test_a_request_whose_client_disconnects_is_not_run(paced):
    server: Running = paced(1.0)
    body = png(picture(1, 16, 16))
    head = f"POST /predictions/{server.model} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.post, body)
        _wait_for(server, "segplug_batch_size_count", 1)
        with _connect(server) as connection:
            connection.sendall(head.encode() + body)
            _wait_for(server, "segplug_requests_waiting", 1)
        assert first.result().status == 200
    assert server.post(body).status == 200
    assert server.metrics()["segplug_batch_size_sum", frozenset()] == 2, "without the disconnected one"
    left = frozenset({("status", "499"), ("output", "mask")})
    assert server.metrics()["segplug_requests_total", left] == 1


def _wait_for(server: Running, name: str, value: float) -> None:
    deadline = time.monotonic() + 30
    while server.metrics()[name, frozenset()] != value:
        assert time.monotonic() < deadline, f"{name} never became {value}"
        time.sleep(0.02)


def test_requests_beyond_the_queue_are_refused(paced):
    server: Running = paced(0.5, "--queue", "3")
    body = png(picture(1, 16, 16))
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: server.post(body), range(12)))
    by_status = {status: [a for a in answers if a.status == status] for status in (200, 503)}
    assert len(by_status[200]) + len(by_status[503]) == 12
    assert len(by_status[200]) >= 3
    assert by_status[503], "twelve at once are more than three"
    assert all(answer.headers["retry-after"] == "1" for answer in by_status[503])
    assert server.ask("GET", "/health").status == 200
    assert server.post(body).status == 200, "the queue has room again"


def test_a_request_that_waits_too_long_gets_a_504(paced):
    server: Running = paced(3.0, "--timeout", "1")
    answer = server.post(png(picture(1, 16, 16)))
    assert answer.status == 504
    assert "1 s" in answer.json["error"]


def test_requests_without_the_token_are_refused(paced, tmp_path):
    file = tmp_path / "token"
    file.write_text("s3cret-token\n")
    server: Running = paced(0.0, "--token-file", str(file))
    body = png(picture(1))
    for given in ("", "Bearer", "Bearer wrong", "Basic s3cret-token", "Bearer s3cret-token2", "Bearer \xe9"):
        answer = server.post(body, authorization=given)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "s3cret" not in answer.body.decode()
    for path in ("/metrics", "/models", f"/predictions/{server.model}?output=meta", "/nothing"):
        assert server.ask("GET", path).status == 401
    assert server.ask("POST", f"/predictions/{server.model}", bytes(3_000_000)).status == 401
    assert server.ask("GET", "/health").status == server.ask("GET", "/ready").status == 200
    assert server.post(body, authorization="Bearer s3cret-token").status == 200


def test_headers_are_limited_in_size(small):
    with _connect(small) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert b" 400 " in _status(connection)


@pytest.mark.slow
def test_headers_are_limited_in_time(small):
    start = time.monotonic()
    first, second = _connect(small), _connect(small)
    with first, second:
        first.sendall(b"GET /health HT")
        second.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert _status(second).startswith(b"HTTP/1.1 200")
        second.sendall(b"GET /he")
        for connection in (first, second):
            while connection.recv(1000):
                pass
        assert HEADER_SECONDS <= time.monotonic() - start < 2 * HEADER_SECONDS

"""Servers that are stopped or killed, and one whose model hangs."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serve_support.models import paced_labels
from serve_support.servers import Running, picture, png

pytestmark = pytest.mark.server


def _in_server(server: Running) -> float:
    return server.metrics()["segplug_requests_in_flight", frozenset()]


def _wait_until_in(server: Running, count: int) -> None:
    deadline = time.monotonic() + 30
    while _in_server(server) != count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_accepted_requests_are_answered_before_the_server_ends(paced, number):
    server: Running = paced(0.7, "--batch-size", "2")
    images = [picture(seed, 16, 16) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(server.post, png(image)) for image in images]
        _wait_until_in(server, 6)
        server.process.send_signal(number)
        for image, answer in zip(images, asked, strict=True):
            assert np.array_equal(answer.result().image, paced_labels(image))
    assert server.process.wait(timeout=60) == 0
    assert _is_free(server.port)
    assert "Traceback" not in server.log.read_text()


def test_new_connections_are_refused_during_shutdown(paced):
    server: Running = paced(2.0)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.post, png(picture(1, 16, 16)))
        _wait_until_in(server, 1)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.7)
        with pytest.raises(ConnectionError):
            server.ask("GET", "/health")
        assert asked.result().status == 200
    assert server.process.wait(timeout=60) == 0


def test_a_second_signal_ends_it_at_once(paced):
    server: Running = paced(600.0)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.post, png(picture(1, 16, 16)))
        _wait_until_in(server, 1)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.7)
        assert server.stop() == -signal.SIGTERM
        with pytest.raises(ConnectionError):
            asked.result()


def test_a_killed_server_leaves_nothing_behind(paced):
    server: Running = paced(600.0)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.post, png(picture(1, 16, 16)))
        _wait_until_in(server, 1)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
        with pytest.raises(ConnectionError):
            asked.result()
    assert _is_free(server.port)


def test_a_model_that_hangs_is_not_ready_and_does_not_block_the_shutdown(paced):
    server: Running = paced(600.0, "--timeout", "1")
    assert server.ask("GET", "/ready").status == 200
    with ThreadPoolExecutor(12) as pool:
        assert {answer.status for answer in pool.map(server.post, [png(picture(1, 16, 16))] * 12)} == {504}
    deadline = time.monotonic() + 30
    while (answer := server.ask("GET", "/ready")).status == 200:
        assert time.monotonic() < deadline
    assert answer.status == 503
    assert "one batch" in answer.json["error"]
    assert server.ask("GET", "/health").status == 200
    found = server.metrics()
    assert found["segplug_ready", frozenset()] == 0
    assert (
        found["segplug_requests_waiting", frozenset()]
        == found["segplug_requests_in_flight", frozenset()]
        == 0
    )
    assert server.stop() == 1
    assert "still running" in server.log.read_text()

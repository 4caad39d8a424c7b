"""Reader processes: decodings that are ended, processes that die, a server that dies."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from serve_support.bombs import endless_png, scans
from serve_support.models import paced_labels
from serve_support.servers import Running, form_of, picture, png

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]

HANG = 60.0
"""Seconds after which something hangs for sure, on any machine."""


@pytest.fixture(scope="module")
def endless() -> bytes:
    return endless_png()


def _readers(server: Running) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir() if children.exists() else []
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _wait_until(true) -> None:
    deadline = time.monotonic() + HANG
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _value(server: Running, name: str) -> float:
    return server.metrics()[f"segplug_{name}", frozenset()]


def _good(server: Running, seed: int = 1) -> None:
    image = picture(seed)
    assert np.array_equal(server.post(png(image)).image, paced_labels(image))


def test_many_scans_hold_no_reader(paced):
    server: Running = paced(0.0)
    bomb = scans(10_000, 5792)
    with ThreadPoolExecutor(8) as pool:
        refused = [pool.submit(server.post, bomb) for _ in range(8)]
        for seed in range(5):
            _good(server, seed)
        assert {answer.result().status for answer in refused} == {413}
    assert _value(server, "reader_restarts_total") == 0


def test_a_decoding_without_end_is_ended(paced, endless):
    """By its processor time, long before the request's own time; then its reader decodes again."""
    server: Running = paced(0.0, "--timeout", "3", "--readers", "1")
    answer = server.post(endless)
    assert answer.status in (413, 504), answer.body
    _wait_until(lambda: _value(server, "readers") == 1 and _value(server, "readers_busy") == 0)
    _good(server)
    assert _value(server, "reader_restarts_total") == 1
    assert server.ask("GET", "/ready").status == 200


def test_a_client_that_leaves_ends_the_decoding(paced, endless):
    server: Running = paced(0.0, "--readers", "1", "--timeout", "600")
    head = f"POST /predictions/{server.model} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(endless)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + endless)
        _wait_until(lambda: _value(server, "readers_busy") == 1)
    _wait_until(lambda: _value(server, "reader_restarts_total") == 1)
    _good(server)


def test_a_request_whose_reader_dies_is_decoded_by_another(paced):
    server: Running = paced(0.0)
    readers = _readers(server)
    for pid in readers:
        os.kill(pid, signal.SIGKILL)
    _wait_until(lambda: not any(map(_runs, readers)))
    _good(server)
    _wait_until(lambda: _value(server, "readers") == 2)
    assert len(_readers(server)) == 2


def test_a_reader_that_hangs_without_using_its_processor_is_replaced(paced):
    server: Running = paced(0.0, "--timeout", "5", "--readers", "1")
    (pid,) = _readers(server)
    os.kill(pid, signal.SIGSTOP)
    assert server.post(png(picture(1))).status == 504
    _wait_until(lambda: _value(server, "reader_restarts_total") == 1)
    assert pid not in _readers(server)
    _good(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_reader_outlives_the_server(paced, endless, number):
    server: Running = paced(0.0, "--timeout", "2")
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.post, endless) for _ in range(4)]
        _wait_until(lambda: _value(server, "readers_busy") == 2)
        readers = _readers(server)
        assert len(readers) == 2
        server.process.send_signal(number)
        assert server.process.wait(HANG) == (0 if number == signal.SIGTERM else -number)
        for each in asked:
            assert each.exception() is not None or each.result().status in (413, 504)
    _wait_until(lambda: not any(map(_runs, readers)))


def test_signals_to_all_processes_leave_readers_running(paced):
    """As a terminal sends Ctrl-C, and systemd sends SIGTERM."""
    server: Running = paced(0.7, "--batch-size", "1")
    images = [picture(seed, 16, 16) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.post, png(image)) for image in images]
        _wait_until(lambda: _value(server, "requests_in_flight") == 4)
        for pid in (*_readers(server), server.process.pid):
            os.kill(pid, signal.SIGINT)
        for image, answer in zip(images, asked, strict=True):
            assert np.array_equal(answer.result().image, paced_labels(image))
    assert server.process.wait(HANG) == 0


def test_slow_senders_keep_nobody_out(paced):
    server: Running = paced(0.0, "--queue", "2", "--timeout", "2")
    head = (
        f"POST /predictions/{server.model} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc".encode()
    )
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=HANG) for _ in range(64)]
    for each in slow:
        each.sendall(head)
    _wait_until(lambda: _value(server, "requests_arriving") > 32)
    for seed in range(5):
        _good(server, seed)
    assert {each.recv(12) for each in slow} == {b"HTTP/1.1 408"}
    for each in slow:
        each.close()


def test_bodies_on_their_way_have_bounded_memory(paced):
    """Those that have been on their way longest give way to others."""
    server: Running = paced(0.0, "--max-bytes", str(16 << 20), "--timeout", "30")
    head = f"POST /predictions/{server.model} HTTP/1.1\r\nHost: x\r\nContent-Length: {16 << 20}\r\n\r\n"
    part = bytes(12 << 20)
    slow = []
    for _ in range(20):  # 240 MB, of which 128 fit
        slow.append(socket.create_connection(("127.0.0.1", server.port), timeout=HANG))
        slow[-1].sendall(head.encode() + part)
    _good(server)
    assert _value(server, "body_bytes") <= 8 * (16 << 20)
    answer = slow[0].recv(4096)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in answer
    for each in slow:
        each.close()


def test_a_form_is_read_where_it_can_be_ended(paced):
    server: Running = paced(0.0)
    image = picture(1)
    form, kind = form_of(any_name=png(image))
    assert np.array_equal(server.post(form, content_type=kind).image, paced_labels(image))
    pieces = b"\r\n--edg" * 1_000_000
    assert server.post(form[:-12] + pieces + form[-12:], content_type=kind).status in (200, 400)
    _good(server)


def test_a_large_image_that_nobody_takes_any_more_is_dropped(paced):
    """The model hangs, decoded images fill their memory, and a reader waits for room."""
    server: Running = paced(600.0, "--timeout", "2", "--max-pixels", "1000000", "--max-decoded", "3000000")
    body = png(np.zeros((1000, 1000, 3), np.uint8))
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status for answer in pool.map(server.post, [body] * 8)} == {504}
    assert _value(server, "reader_restarts_total") == 0, "a reader that waits for room is free again"
    assert _value(server, "image_bytes") <= 2 * (3_000_000 + 8_000_000)
    assert server.stop() == 1

"""Any number of hostile requests, made at random from a seed. Each kind is one function."""

from __future__ import annotations

import base64
import io
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from serve_support import bombs
from serve_support.servers import Running, form_of, picture

__all__ = ["MAY_ANSWER", "Attack", "attacks"]

MAY_ANSWER = frozenset((200, 400, 404, 405, 408, 411, 413, 415, 422, 499, 501, 503, 504))
"""What a server may answer. 200: some damaged images can be decoded. Never 500, which is an error of ours."""

_SLOW_SECONDS = 8.0


@dataclass(frozen=True)
class Attack:
    """One hostile request."""

    kind: str
    number: int
    raw: bytes = b""
    """What is sent on a connection of its own; empty: a usual request with the parts below."""
    body: bytes = b""
    content_type: str = "image/png"
    query: str = ""
    leaves: bool = False
    """Whether the client closes the connection without reading."""
    drip: bytes = b""
    """What is sent after ``raw``, byte by byte, for some seconds."""
    alone: bool = field(default=False)
    """Whether it takes a reader for seconds: as many at once as readers leave nothing for others."""

    def send(self, server: Running) -> int | None:
        """Send it; returns the status, or ``None`` if the server closed the connection, or nobody reads."""
        if not self.raw:
            return server.post(self.body, self.query, content_type=self.content_type).status
        with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
            try:
                connection.sendall(self.raw)
                if self.leaves:
                    return None
                if self.drip:
                    _drip(connection, self.drip)
                    return None
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(64)
                while connection.recv(1 << 16):
                    pass
            except OSError:
                return None
            return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else None


def _drip(connection: socket.socket, content: bytes) -> None:
    """Send slowly beside all other requests."""
    own = connection.dup()

    def send() -> None:
        until = time.monotonic() + _SLOW_SECONDS
        with own:
            for byte in content:
                if time.monotonic() > until:
                    return
                try:
                    own.sendall(bytes([byte]))
                except OSError:
                    return
                time.sleep(0.2)

    threading.Thread(target=send, daemon=True).start()


def attacks(count: int, seed: int, path: str) -> Iterator[Attack]:
    """Hostile requests to a model's address; the same ones for the same seed."""
    rng = random.Random(seed)
    usual = [make for make in _KINDS if make not in _EXPENSIVE]
    for number in range(count):
        make = rng.choice(_EXPENSIVE if number % 100 == 50 else usual)
        made = make(rng, path)
        yield Attack(make.__name__.strip("_"), number, **made, alone=make in _EXPENSIVE)


_Made = dict[str, object]
_Kind = Callable[[random.Random, str], _Made]
_FORMATS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/tiff": ".tiff",
    "image/bmp": ".bmp",
}


def _image(rng: random.Random) -> tuple[bytes, str]:
    kind = rng.choice([*_FORMATS, "application/x-npy"])
    image = picture(rng.randrange(1000), rng.randrange(1, 200), rng.randrange(1, 200))
    if kind == "application/x-npy":
        content = io.BytesIO()
        np.save(content, image)
        return content.getvalue(), kind
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, rng.randrange(2)] if kind == "image/jpeg" else []
    return cv2.imencode(_FORMATS[kind], image, options)[1].tobytes(), kind


def _head(path: str, *fields: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode("latin-1")


def _posted(path: str, body: bytes, kind: str = "image/png") -> bytes:
    return _head(path, f"Content-Length: {len(body)}", f"Content-Type: {kind}") + body


def _cut_off(rng: random.Random, path: str) -> _Made:
    body, kind = _image(rng)
    return {"body": body[: rng.randrange(len(body))], "content_type": kind}


def _turned_bits(rng: random.Random, path: str) -> _Made:
    body, kind = _image(rng)
    damaged = bytearray(body)
    for _ in range(rng.choice([1, 3, 30])):
        # Mostly in the header, where sizes and types are.
        damaged[rng.randrange(min(len(damaged), rng.choice([64, len(damaged)])))] = rng.randrange(256)
    return {"body": bytes(damaged), "content_type": kind}


def _parts_of_two(rng: random.Random, path: str) -> _Made:
    (first, kind), (second, _) = _image(rng), _image(rng)
    return {
        "body": first[: rng.randrange(len(first))] + second[rng.randrange(len(second)) :],
        "content_type": kind,
    }


def _noise_after_a_signature(rng: random.Random, path: str) -> _Made:
    body, kind = _image(rng)
    return {"body": body[: rng.randrange(2, 30)] + rng.randbytes(rng.randrange(5000)), "content_type": kind}


def _huge_size(rng: random.Random, path: str) -> _Made:
    width, height = (rng.choice([0, 1, 70_000, 2**31 - 1, 2**32 - 1]) for _ in range(2))
    return {"body": bombs.png_of(width, height)}


def _scans(rng: random.Random, path: str) -> _Made:
    return {"body": bombs.scans(rng.choice([101, 3000]), rng.choice([8, 1900])), "content_type": "image/jpeg"}


def _png_chunks(rng: random.Random, path: str) -> _Made:
    make, most = rng.choice([(bombs.png_of_texts, 500), (bombs.png_of_chunks, 300_000)])
    return {"body": make(rng.randrange(1, most))}


def _tiff_pages(rng: random.Random, path: str) -> _Made:
    return {"body": bombs.tiff_of_pages(rng.choice([0, 1, 500])), "content_type": "image/tiff"}


def _npy_header(rng: random.Random, path: str) -> _Made:
    shape = rng.choice(
        ["(1, 1, 3)", "(99999999, 99999999, 3)", "(-1, 2)", "(2,)", "(True, 2, 3)", "((" * 900, "()"]
    )
    dtype = rng.choice(["|u1", "|O", "<f8", "<c16", "<U9", "|V3", "<M8[s]"])
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(118) + b"\n"
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(rng.randrange(64))
    return {"body": body, "content_type": "application/x-npy"}


def _odd_json(rng: random.Random, path: str) -> _Made:
    image = base64.b64encode(_image(rng)[0]).decode()
    body = rng.choice(
        [
            b"[" * rng.randrange(1, 100_000),
            b'{"image": "' + b"%" * rng.randrange(1000),
            json.dumps({"image": image[:-3]}).encode(),
            json.dumps({"image": [image]}).encode(),
            json.dumps([1] * 2000).encode(),
            json.dumps({"image": "\ud800" + image}).encode(),
            b"\xff\xfe{" + image.encode(),
        ]
    )
    return {"body": body, "content_type": "application/json"}


def _odd_form(rng: random.Random, path: str) -> _Made:
    form, kind = form_of(**{f"n{number}": _image(rng)[0] for number in range(rng.randrange(4))})
    if rng.random() < 0.5:
        form = form[: rng.randrange(len(form))] + rng.choice([b"", b"\r\n--edge", b"\r\n--edg" * 5000])
    return {"body": form, "content_type": rng.choice([kind, kind[:-1], "multipart/form-data", kind + "\xe9"])}


def _another_type(rng: random.Random, path: str) -> _Made:
    kinds = [
        "text/html",
        "application/x-python-pickle",
        "image/",
        "a" * 3000,
        ";",
        "multipart/mixed; boundary=edge",
    ]
    return {"body": _image(rng)[0], "content_type": rng.choice([*_FORMATS, *kinds])}


def _odd_query(rng: random.Random, path: str) -> _Made:
    words = [
        "output=",
        "output=nothing",
        "opacity=nan",
        "opacity=-1",
        "bands=0",
        "bands=1,2",
        "bands=" + "9" * 90,
    ]
    words += [
        "unknown_below=inf",
        "unknown_below=0.5",
        "output=confidence",
        "output=mask&output=json",
        "%ff=%00",
    ]
    return {"body": _image(rng)[0], "query": "?" + "&".join(rng.sample(words, rng.randrange(1, 4)))}


def _odd_chunks(rng: random.Random, path: str) -> _Made:
    size = rng.choice(
        [b"zz", b"-5", b"FFFFFFFFFFFFFFFFFF", b"5;" + b"x" * 20_000, b"", b"2\r\nab\r\n9", b"5\n"]
    )
    return {"raw": _head(path, "Transfer-Encoding: chunked") + size + b"\r\nabcde\r\n0\r\n\r\n"}


def _odd_length(rng: random.Random, path: str) -> _Made:
    values = [
        "-1",
        "abc",
        "9" * 30,
        "3, 4",
        "0x10",
        "5\r\nContent-Length: 6",
        "5\r\nTransfer-Encoding: chunked",
        "",
    ]
    return {"raw": _head(path, f"Content-Length: {rng.choice(values)}") + b"abcdef"}


def _odd_header(rng: random.Random, path: str) -> _Made:
    lines = [
        "X: " + "x" * 30_000,
        "X: \0",
        "no colon",
        " folded",
        "Host: y",
        "Expect: 200-never",
        "Content-Type: \xe9",
    ]
    lines += [
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13"
    ]
    return {"raw": _head(path, rng.choice(lines), "Content-Length: 3") + b"abc"}


def _no_http(rng: random.Random, path: str) -> _Made:
    return {
        "raw": rng.choice(
            [
                b"\x16\x03\x01\x02\x00\x01",
                b"GET /\r\n\r\n",
                b"\r\n" * 50,
                rng.randbytes(300),
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ]
        )
    }


def _other_address(rng: random.Random, path: str) -> _Made:
    where = rng.choice(
        ["/predictions/", path + "/../x", "/%00", "/predictions/%2e%2e", "*", "http://y" + path, path + "/"]
    )
    return {
        "raw": _head(where, "Content-Length: 3", method=rng.choice(["POST", "DELETE", "TRACE", "A" * 500]))
        + b"abc"
    }


def _pipelined(rng: random.Random, path: str) -> _Made:
    raw = b"".join(
        rng.choice(
            [
                _posted(path, _image(rng)[0]),
                _posted(path, b"no image"),
                _head("/health", method="GET"),
                b"junk\r\n",
            ]
        )
        for _ in range(rng.randrange(2, 6))
    )
    return {"raw": raw}


def _leaves_in_the_header(rng: random.Random, path: str) -> _Made:
    head = _head(path, "Content-Length: 1000")
    return {"raw": head[: rng.randrange(1, len(head))], "leaves": True}


def _leaves_in_the_body(rng: random.Random, path: str) -> _Made:
    raw = _posted(path, _image(rng)[0])
    return {"raw": raw[: -rng.randrange(1, 60)], "leaves": True}


def _leaves_before_the_answer(rng: random.Random, path: str) -> _Made:
    return {"raw": _posted(path + "?output=painted", _image(rng)[0]), "leaves": True}


def _slow_body(rng: random.Random, path: str) -> _Made:
    return {"raw": _head(path, "Content-Length: 1000000"), "drip": rng.randbytes(100)}


def _slow_header(rng: random.Random, path: str) -> _Made:
    return {"raw": b"POST ", "drip": _head(path, "Content-Length: 10")}


def _larger_than_its_limits(rng: random.Random, path: str) -> _Made:
    return {"body": rng.randbytes(9 << 20)}


def _without_end(rng: random.Random, path: str) -> _Made:
    return {"body": bombs.endless_png(7)}


_EXPENSIVE: tuple[_Kind, ...] = (_without_end,)
_KINDS: tuple[_Kind, ...] = (
    _cut_off,
    _turned_bits,
    _parts_of_two,
    _noise_after_a_signature,
    _huge_size,
    _scans,
    _png_chunks,
    _tiff_pages,
    _npy_header,
    _odd_json,
    _odd_form,
    _another_type,
    _odd_query,
    _odd_chunks,
    _odd_length,
    _odd_header,
    _no_http,
    _other_address,
    _pipelined,
    _leaves_in_the_header,
    _leaves_in_the_body,
    _leaves_before_the_answer,
    _slow_body,
    _slow_header,
    _larger_than_its_limits,
    *_EXPENSIVE,
)

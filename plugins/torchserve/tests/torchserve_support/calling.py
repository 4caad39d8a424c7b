"""A client that does not use segplug."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def together(self) -> int:
        """How many images the network was given with this one."""
        return int(re.search(r'batch;desc="(\d+)"', self.headers["server-timing"])[1])


def call(url: str, body: bytes | None = None, *, kind: str = "image/png", **headers: str) -> Answer:
    """POST (GET without a body); headers with ``_`` for ``-``."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent["Content-Type"] = kind
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, sent), timeout=60) as answer:
            return _answer(answer, answer.status)
    except urllib.error.HTTPError as error:
        return _answer(error, error.code)


def _answer(answer: Any, status: int) -> Answer:
    return Answer(status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())


def form(name: str, content: bytes, **fields: str) -> tuple[bytes, str]:
    """A multipart form with a file in a field ``name``, and its content type."""
    edge = "7ee0c8a2"
    parts = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in fields.items()
    ]
    head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\n'
    parts.append(f"{head}Content-Type: image/png\r\n\r\n".encode() + content + b"\r\n")
    return b"".join([*parts, f"--{edge}--\r\n".encode()]), f"multipart/form-data; boundary={edge}"

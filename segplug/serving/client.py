"""A server's other side: images as files go out, label maps come back."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlencode, urlsplit

import numpy as np

from segplug.errors import EngineError, UsageError
from segplug.model import ModelMeta
from segplug.serving.requests import OUTPUT_HEADER

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Client", "Reply", "decode_mask"]

_DURATION = re.compile(r"(?P<name>[\w.-]+)\s*;(?:.*;)?\s*dur=(?P<milliseconds>\d+(\.\d+)?)(\s*;.*)?")


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    """Names in lower case."""
    seconds: float
    """From the first byte sent to the last received."""

    @property
    def reason(self) -> str:
        """What the server says of a request that it refuses, in one line."""
        try:
            said = json.loads(self.body)
            text = said.get("error") or said.get("message") or said.get("detail")
        except (ValueError, AttributeError):
            text = None
        return " ".join(str(text or self.body[:200].decode("utf-8", "replace")).split())

    def timing(self) -> dict[str, float]:
        """Seconds by name, from the ``Server-Timing`` header; empty without one."""
        found = {}
        for part in self.headers.get("server-timing", "").split(","):
            metric = _DURATION.fullmatch(part.strip())
            if metric:
                found[metric["name"]] = float(metric["milliseconds"]) / 1000
        return found


class Client:
    """Talks to one model on one server. Each thread has a connection of its own, which it keeps.

    Args:
        url: Where the model's predictions are: ``http://127.0.0.1:8080/predictions/NAME``.
        token: Sent as a bearer token.
        timeout: Seconds to wait for a connection or an answer.

    Raises:
        UsageError: ``url`` is no address of that kind.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60) -> None:
        self.url = url.rstrip("/")
        self._parts = _split(self.url)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def post(self, content: bytes, *, output: str = "mask", content_type: str = "") -> Reply:
        """Send the bytes of an image file.

        Args:
            content: As they lie on disk.
            output: ``mask``, ``painted`` or ``json``.
            content_type: Of ``content``; empty: ``application/octet-stream``.

        Raises:
            EngineError: the server cannot be reached, or went away.
        """
        return self._send(
            "POST", output, content, {"Content-Type": content_type or "application/octet-stream"}
        )

    def meta(self) -> ModelMeta:
        """What the server says of its model.

        Raises:
            EngineError: it cannot be reached, or serves no model of segplug's under this name.
        """
        reply = self._send("GET", "meta", None, {})
        if reply.status in (401, 403):
            raise EngineError(f"{self.url} wants a token: {reply.reason}", hint="give one with --token")
        try:
            said = json.loads(reply.body) if reply.status == 200 else None
            return ModelMeta.from_dict(said["meta"])  # type: ignore[index]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            said_instead = f"{reply.status} {reply.reason}".strip()
            raise EngineError(
                f"{self.url} says nothing of a segplug model: {said_instead}",
                hint="it must be the address of its predictions, as http://HOST:8080/predictions/NAME",
            ) from error

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()

    def _send(self, method: str, output: str, body: bytes | None, more: Mapping[str, str]) -> Reply:
        path = f"{self._parts.path}?{urlencode({'output': output})}"
        # A server may keep the query to itself, as TorchServe does: the header says it, too.
        headers = {**self._headers, OUTPUT_HEADER: output, **more}
        start = time.perf_counter()
        for again in (True, False):
            connection = self._connection()
            kept = connection.sock is not None
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # A server may close a connection that was kept for it; a new one says whether it is there.
                if kept and again and not isinstance(error, TimeoutError):
                    continue
                raise EngineError(f"{self.url} cannot be reached: {_said(error)}") from error
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, content, found, time.perf_counter() - start)
        raise AssertionError("the second try returns or raises")

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            kind = (
                http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            )
            connection = kind(self._parts.netloc, timeout=self._timeout)
            self._local.connection = connection
            self._connections.append(connection)
        return connection


def decode_mask(content: bytes, url: str) -> npt.NDArray[Any]:
    """A label mask as a server sends it; unsigned integer ``(H, W)``.

    Raises:
        EngineError: it is no PNG of one channel.
    """
    from segplug.runtime.libraries import opencv

    cv2 = opencv()
    mask: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if mask is None or mask.ndim != 2:
        raise EngineError(f"{url} answered with something that is no label mask")
    labels: npt.NDArray[Any] = mask
    return labels


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise UsageError(
            f"'{url}' is no address of a server", hint="as http://127.0.0.1:8080/predictions/NAME"
        )
    try:
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"'{url}' has no valid port: {error}") from error
    return parts


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)

"""The client of a server: sends image files and ``.npy`` files, receives label maps."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from segplug.errors import ArtifactError, DatasetError, EngineError, UsageError
from segplug.model import ModelMeta
from segplug.serving.requests import CONTROLS
from segplug.text import printable_line

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Client", "Reply", "decode_mask", "predictions_url"]

_PREDICTIONS = "/predictions/"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_BITS = 24
"""Where a PNG says how many bits a value has."""
_VISIBLE = re.compile(r"[!-~]+")
"""ASCII without spaces, line ends and control characters."""
_DURATION = re.compile(r"(?P<name>[\w.-]+)\s*;(?:.*;)?\s*dur=(?P<milliseconds>\d+(\.\d+)?)(\s*;.*)?")


@dataclass(frozen=True)
class Reply:
    """The response of a server."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    """Names in lower case."""
    seconds: float
    """From the first byte sent to the last byte received."""

    @property
    def reason(self) -> str:
        """The server's reason for refusing the request, in one line."""
        try:
            document = json.loads(self.body)
            text = document.get("error") or document.get("message") or document.get("detail")
        except (ValueError, AttributeError, RecursionError):
            text = None
        line = " ".join(str(text or self.body[:200].decode("utf-8", "replace")).split())
        return line or http.client.responses.get(self.status, "no reason given")

    def timing(self) -> dict[str, float]:
        """Seconds by name, from the ``Server-Timing`` header; empty if there is none."""
        found = {}
        for part in self.headers.get("server-timing", "").split(","):
            metric = _DURATION.fullmatch(part.strip())
            if metric:
                found[metric["name"]] = float(metric["milliseconds"]) / 1000
        return found


class Client:
    """A client of one model on one server. Each thread keeps a connection of its own.

    Args:
        url: The address of the model's predictions: ``http://127.0.0.1:8080/predictions/NAME``.
        token: Sent as a bearer token.
        timeout: Seconds to wait for a connection or an answer.

    Raises:
        UsageError: ``url`` or ``token`` is malformed.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60) -> None:
        self.url = url.rstrip("/")
        self._parts = _split(self.url)
        if token is not None and not _VISIBLE.fullmatch(token):
            raise UsageError("the token must be ASCII without spaces")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def post(self, content: bytes, *, output: str = "mask", content_type: str = "", **controls: str) -> Reply:
        """Send the bytes of an image file.

        Args:
            content: The file's bytes.
            output: What to answer with (:data:`segplug.serving.requests.Output`).
            content_type: The type of ``content``; empty: ``application/octet-stream``.
            **controls: Other parameters (:data:`segplug.serving.requests.CONTROLS`).

        Raises:
            EngineError: the server cannot be reached, or closed the connection.
        """
        kind = content_type or "application/octet-stream"
        return self._predict("POST", {"output": output, **controls}, content, {"Content-Type": kind})

    def meta(self) -> ModelMeta:
        """Ask the server for the metadata of its model.

        Raises:
            EngineError: the server cannot be reached, has no segplug model of this name, or its metadata is
                wrong.
        """
        reply = self._predict("GET", {"output": "meta"}, None, {})
        self._check_authorized(reply)
        try:
            document = json.loads(reply.body) if reply.status == 200 else None
            return ModelMeta.from_dict(document["meta"])  # type: ignore[index]
        except ArtifactError as error:
            raise EngineError(f"{self.url}: {error.message}", hint=error.hint) from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise EngineError(
                f"{self.url} does not describe a segplug model: {reply.status} {reply.reason}".rstrip(),
                hint="give the address of the model's predictions: http://HOST:8080/predictions/NAME",
            ) from error

    def only_model(self) -> str:
        """Ask the server at this address for the name of its only model.

        Raises:
            EngineError: the server cannot be reached.
            UsageError: the server has several models or none, or does not list them.
        """
        reply = self._send("GET", f"{self._parts.path}/models", None, {})
        self._check_authorized(reply)
        try:
            names = [str(model["name"]) for model in json.loads(reply.body)["models"]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise UsageError(f"{self.url} does not list its models", hint="add --model-name NAME") from error
        if len(names) != 1:
            found = f"several models: {', '.join(names)}" if names else "no model"
            raise UsageError(f"{self.url} has {found}", hint="add --model-name NAME")
        return names[0]

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()

    def _check_authorized(self, reply: Reply) -> None:
        if reply.status in (401, 403):
            raise EngineError(f"{self.url} requires a token: {reply.reason}", hint="give one with --token")

    def _predict(
        self, method: str, controls: Mapping[str, str], body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        path = f"{self._parts.path}?{urlencode(controls)}"
        # Some servers, such as TorchServe, do not pass the query on: so headers repeat it.
        repeated = {CONTROLS[name]: value for name, value in controls.items()}
        return self._send(method, path, body, {**repeated, **headers})

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        headers = {**self._headers, **headers}
        start = time.perf_counter()
        for again in (True, False):
            connection = self._connection()
            reused = connection.sock is not None
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # The server may have closed an idle connection: try once more with a new one.
                if reused and again and not isinstance(error, TimeoutError):
                    continue
                raise EngineError(f"{self.url} cannot be reached: {_reason(error)}") from error
            received = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, content, received, time.perf_counter() - start)
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
    """Decode a label mask that a server sent, with a palette or in grey; unsigned integers ``(H, W)``.

    Raises:
        EngineError: the content is not a PNG of one channel.
    """
    from segplug.runtime.reading import masks

    try:
        if not content.startswith(_PNG_START):
            raise DatasetError("it is no PNG")
        wide = content[_PNG_BITS] > 8
        return masks.decode_mask(content, "the mask", wide=wide, nodata=False)
    except (DatasetError, IndexError) as error:
        raise EngineError(f"{url} answered with something that is no label mask") from error


def predictions_url(
    url: str, model_name: str | None, *, token: str | None = None, timeout: float = 60
) -> str:
    """The address of a model's predictions.

    Args:
        url: That address, or the address of the server.
        model_name: The model's name on the server; ``None``: the only model that the server has.
        token: Sent as a bearer token.
        timeout: Seconds to wait for an answer.

    Raises:
        UsageError: the model's name is missing, or ``url`` has another one.
    """
    parts = _split(url)
    if _PREDICTIONS in parts.path:
        named = unquote(parts.path.partition(_PREDICTIONS)[2].partition("/")[0])
        if model_name not in (None, named):
            raise UsageError(f"{url} is the address of '{named}', which is another model than '{model_name}'")
        return url
    if model_name is None:
        with closing(Client(url, token=token, timeout=timeout)) as client:
            model_name = client.only_model()
    return url.rstrip("/") + _PREDICTIONS + quote(model_name, safe="")


def _split(url: str) -> SplitResult:
    # First of all: urlsplit takes line ends and tabs out without a word.
    if not _VISIBLE.fullmatch(url):
        raise UsageError(
            f"'{printable_line(url)}' is not the address of a server: an address has no spaces, line ends, "
            "control characters or letters beyond ASCII",
            hint="write a space in it as %20",
        )
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise UsageError(f"'{url}' is not the address of a server: {error}") from error
    usable = parts.scheme in ("http", "https") and parts.hostname and not parts.query and port != 0
    if not usable or parts.fragment or parts.username is not None:
        raise UsageError(
            f"'{url}' is not the address of a server",
            hint="an example: http://127.0.0.1:8080/predictions/NAME",
        )
    return parts


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)

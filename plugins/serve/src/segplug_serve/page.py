"""The pages at ``/`` and ``/docs``: files of this package, the samples, the OpenAPI document."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from segplug.serving.answers import Answer
from segplug.text import encodable_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from segplug_serve.samples import Sample

__all__ = ["Page"]

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_HEADERS = {
    # The browser asks whether its copy is still right: another version of segplug may be started here.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


class Page:
    """What a person sees who opens the server's address in a browser.

    Args:
        samples: The images that it offers.
        openapi: The document at ``/openapi.json``.
    """

    def __init__(self, samples: Sequence[Sample], openapi: Mapping[str, Any]) -> None:
        self._samples = list(samples)
        self._openapi = encodable_data(json.loads(json.dumps(openapi)))
        self._files = {
            file.name: _loaded(file.name, file.read_bytes())
            for file in files(__package__).joinpath("web").iterdir()
            if file.is_file()
        }

    @property
    def public_paths(self) -> frozenset[str]:
        """The addresses that need no token: the same for every model."""
        return frozenset({"/", "/docs", *(f"/page/{name}" for name in self._files)})

    def routes(self, respond: Callable[[Answer], Response]) -> list[Route]:
        """The routes of its addresses.

        Args:
            respond: Makes the response that sends a large answer within the server's memory.
        """

        async def sample(request: Request) -> Response:
            number = request.path_params["number"]
            if number >= len(self._samples):
                raise HTTPException(404)
            chosen = self._samples[number]
            try:
                content = await asyncio.to_thread(chosen.read)
            except OSError as error:
                raise HTTPException(410, "this sample cannot be read any more") from error
            headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
            return respond(Answer(200, content, chosen.media_type, headers))

        return [
            Route("/", self._start),
            Route("/docs", self._docs),
            Route("/page/{name}", self._asset),
            Route("/openapi.json", self._document),
            Route("/samples", self._list),
            Route("/samples/{number:int}", sample),
        ]

    async def _start(self, request: Request) -> Response:
        return _answer(request, self._files["index.html"])

    async def _docs(self, request: Request) -> Response:
        return _answer(request, self._files["docs.html"])

    async def _asset(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return _answer(request, file)

    async def _document(self, request: Request) -> Response:
        return JSONResponse(self._openapi)

    async def _list(self, request: Request) -> Response:
        listed = [
            {"name": each.name, "url": f"samples/{number}", "type": each.media_type, "size": each.size}
            for number, each in enumerate(self._samples)
        ]
        return JSONResponse({"samples": listed})


def _loaded(name: str, content: bytes) -> _File:
    suffix = name[name.rindex(".") :]
    return _File(content, _MEDIA_TYPES[suffix], f'"{hashlib.sha256(content).hexdigest()[:20]}"')


def _answer(request: Request, file: _File) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)

"""A request's body: counted and timed as it comes, taken out of a form where it is in one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

if TYPE_CHECKING:
    from starlette.datastructures import UploadFile
    from starlette.requests import Request

    from segplug.serving.requests import Limits

__all__ = ["body_of", "form_headers"]

_WRAPPING = 64 << 10
"""Bytes that a form or JSON may need around an image."""

_MOST_FIELDS = 32

_BOUNDARY = re.compile(r"[\w'()+,./:=? -]{1,70}", re.ASCII)
"""As RFC 2046 has it."""


async def body_of(request: Request, limits: Limits, deadline: float) -> tuple[bytes, str]:
    """The image's bytes (or the JSON that holds them) and their content type.

    Args:
        request: Its body has not been read.
        limits: Of the image; a body that can only be larger is refused before it is read.
        deadline: On the loop's clock, when the body must have come.

    Raises:
        HTTPException: 400, 408, 413; 499 where the client left.
    """
    kind = request.headers.get("content-type", "")
    plain_kind = kind.partition(";")[0].strip().lower()
    most = _most(plain_kind, limits)
    if int(request.headers.get("content-length", 0)) > most:
        raise _too_large(limits)
    chunks = _chunks(request, most, limits, deadline)
    if plain_kind == "multipart/form-data":
        # Taken apart already: the service asks for no content type of its own.
        return await _file_of_form(request, chunks), ""
    return b"".join([chunk async for chunk in chunks]), kind


def _most(kind: str, limits: Limits) -> int:
    if kind == "application/json":
        return limits.bytes * 4 // 3 + _WRAPPING  # base64
    return limits.bytes + _WRAPPING


def _too_large(limits: Limits) -> HTTPException:
    return HTTPException(413, f"the image has more than {limits.bytes} bytes")


async def _chunks(
    request: Request, most: int, limits: Limits, deadline: float
) -> AsyncGenerator[bytes, None]:
    stream, size, loop = request.stream(), 0, asyncio.get_running_loop()
    try:
        while True:
            chunk = await asyncio.wait_for(anext(stream), deadline - loop.time())
            size += len(chunk)
            if size > most:
                raise _too_large(limits)
            yield chunk
    except StopAsyncIteration:
        return
    except asyncio.TimeoutError:  # not the builtin one on Python 3.10
        raise HTTPException(408, "the request did not come in time") from None
    except ClientDisconnect:
        raise HTTPException(499, "the client left") from None


def form_headers(kind: str) -> Headers:
    """A form's content type with nothing in it but the boundary.

    The parser would decode fields with any codec that a client names, and some of Python's take minutes.

    Raises:
        HTTPException: 400, there is no boundary.
    """
    boundary = parse_options_header(kind)[1].get(b"boundary", b"").decode("latin-1")
    if not _BOUNDARY.fullmatch(boundary):
        raise HTTPException(400, "the form cannot be read: its content type gives no boundary")
    return Headers({"content-type": f'multipart/form-data; boundary="{boundary}"'})


class _InMemory(MultiPartParser):
    spool_max_size = 0
    """Bytes above which a part goes to disk; 0: never."""


async def _file_of_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> bytes:
    """The one file of a form, whatever its field is called."""
    headers = form_headers(request.headers["content-type"])
    try:
        form = await _InMemory(headers, chunks, max_files=1, max_fields=_MOST_FIELDS).parse()
    except (MultiPartException, FormParserError) as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    files: list[UploadFile] = [part for part in form.values() if not isinstance(part, str)]
    if not files:
        raise HTTPException(400, "the form holds no file")
    with files[0].file as file:
        content: bytes = file.read()
    return content

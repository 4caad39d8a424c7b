"""Reads the body of a request within limits of size and time, and takes the image out of a form."""

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

__all__ = ["form_headers", "read_body"]

_OVERHEAD = 64 << 10
"""Bytes that a form or JSON may have around an image."""

_MAX_FIELDS = 32

_BOUNDARY = re.compile(r"[\w'()+,./:=? -]{1,70}", re.ASCII)
"""The characters that RFC 2046 allows."""


async def read_body(request: Request, limits: Limits, deadline: float) -> tuple[bytes, str]:
    """Read the bytes of an image, or of JSON that contains one, and their content type.

    Args:
        request: A request whose body has not been read.
        limits: The limits of the image. A body with a larger length in its header is refused unread.
        deadline: The loop's time at which the whole body must have been received.

    Raises:
        HTTPException: 400, 408, 413; 499 if the client disconnects.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    max_bytes = _max_bytes(media_type, limits)
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise _too_large(limits)
    chunks = _chunks(request, max_bytes, limits, deadline)
    if media_type == "multipart/form-data":
        # The form is parsed here, so the service gets the file without a content type.
        return await _file_in_form(request, chunks), ""
    return b"".join([chunk async for chunk in chunks]), content_type


def _max_bytes(media_type: str, limits: Limits) -> int:
    if media_type == "application/json":
        return limits.bytes * 4 // 3 + _OVERHEAD  # base64
    return limits.bytes + _OVERHEAD


def _too_large(limits: Limits) -> HTTPException:
    return HTTPException(413, f"the image has more than {limits.bytes} bytes")


async def _chunks(
    request: Request, max_bytes: int, limits: Limits, deadline: float
) -> AsyncGenerator[bytes, None]:
    stream, size, loop = request.stream(), 0, asyncio.get_running_loop()
    try:
        while True:
            chunk = await asyncio.wait_for(anext(stream), deadline - loop.time())
            size += len(chunk)
            if size > max_bytes:
                raise _too_large(limits)
            yield chunk
    except StopAsyncIteration:
        return
    except asyncio.TimeoutError:  # not the builtin one on Python 3.10
        raise HTTPException(408, "the body was not received in time") from None
    except ClientDisconnect:
        raise HTTPException(499, "the client disconnected") from None


def form_headers(content_type: str) -> Headers:
    """The headers for the form parser: the content type with its boundary and no other parameter.

    With a ``charset`` the parser would decode fields with any codec that a client names; some take minutes.

    Raises:
        HTTPException: 400: there is no valid boundary.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"").decode("latin-1")
    if not _BOUNDARY.fullmatch(boundary):
        raise HTTPException(400, "the form cannot be read: its content type has no valid boundary")
    return Headers({"content-type": f'multipart/form-data; boundary="{boundary}"'})


class _InMemoryParser(MultiPartParser):
    spool_max_size = 0
    """Larger parts are written to disk; 0: no part is."""


async def _file_in_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> bytes:
    """The only file in a form; its field may have any name."""
    headers = form_headers(request.headers["content-type"])
    try:
        form = await _InMemoryParser(headers, chunks, max_files=1, max_fields=_MAX_FIELDS).parse()
    except (MultiPartException, FormParserError) as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    files: list[UploadFile] = [part for part in form.values() if not isinstance(part, str)]
    if not files:
        raise HTTPException(400, "the form contains no file")
    with files[0].file as file:
        content: bytes = file.read()
    return content

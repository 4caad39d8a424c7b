"""Takes the image out of a multipart form."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from segplug.serving.requests import RefusedRequestError

if TYPE_CHECKING:
    from starlette.datastructures import UploadFile

__all__ = ["FORM", "file_in_form", "form_headers"]

FORM = "multipart/form-data"

_MAX_FIELDS = 32

_BOUNDARY = re.compile(r"[\w'()+,./:=? -]{1,70}", re.ASCII)
"""The characters that RFC 2046 allows."""


def form_headers(content_type: str) -> Headers:
    """The headers for the form parser: the content type with its boundary and no other parameter.

    With a ``charset`` the parser would decode fields with any codec that a client names; some take minutes.

    Raises:
        RefusedRequestError: 400: there is no valid boundary.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"").decode("latin-1")
    if not _BOUNDARY.fullmatch(boundary):
        raise RefusedRequestError(400, "the form cannot be read: its content type has no valid boundary")
    return Headers({"content-type": f'{FORM}; boundary="{boundary}"'})


class _InMemoryParser(MultiPartParser):
    spool_max_size = 0
    """Larger parts are written to disk; 0: no part is."""


def file_in_form(body: bytes, content_type: str) -> bytes:
    """The only file in a form; its field may have any name.

    Raises:
        RefusedRequestError: 400: the form cannot be read, or contains no file.
    """
    return asyncio.run(_file_in_form(body, content_type))


async def _file_in_form(body: bytes, content_type: str) -> bytes:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    headers = form_headers(content_type)
    try:
        form = await _InMemoryParser(headers, chunks(), max_files=1, max_fields=_MAX_FIELDS).parse()
    except (MultiPartException, FormParserError) as error:
        raise RefusedRequestError(400, f"the form cannot be read: {error}") from error
    files: list[UploadFile] = [part for part in form.values() if not isinstance(part, str)]
    if not files:
        raise RefusedRequestError(400, "the form contains no file")
    with files[0].file as file:
        content: bytes = file.read()
    return content

"""Receives the body of a request within limits of size, time and memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from segplug_serve.memory import Holder

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message

    from segplug.serving.requests import Limits
    from segplug_serve.memory import Shared

__all__ = ["TRY_AGAIN", "memory_of_bodies", "read_body"]

TRY_AGAIN = {"Retry-After": "1"}
"""The header of a refusal that is not the request's own fault."""

_OVERHEAD = 64 << 10
"""Bytes that a form or JSON may have around an image."""


def memory_of_bodies(limits: Limits) -> int:
    """Bytes of all bodies together: those on their way, and those of requests that wait for a reader."""
    return max(8 * limits.bytes, 64 << 20)


async def read_body(
    request: Request, limits: Limits, deadline: float, memory: Shared, held: Holder
) -> bytearray:
    """Receive the whole body.

    Args:
        request: A request whose body has not been read.
        limits: The limits of the image. A body with a larger length in its header is refused unread.
        deadline: The loop's time at which the whole body must have been received.
        memory: What all bodies share.
        held: The part of it that this request has.

    Raises:
        HTTPException: 408, 413; 499 if the client disconnects; 503 if others need the memory.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    max_bytes = _max_bytes(media_type, limits)
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise _too_large(limits)
    body = bytearray()
    while True:
        message = await _receive(request, deadline, held)
        if message["type"] == "http.disconnect":
            raise HTTPException(499, "the client disconnected")
        chunk = message.get("body", b"")
        if len(body) + len(chunk) > max_bytes:
            raise _too_large(limits)
        body += chunk
        memory.take(held, len(chunk))
        if held.pushed_out.done():
            raise _pushed_out()
        if not message.get("more_body", False):
            held.waits_for_client = False
            return body


def _max_bytes(media_type: str, limits: Limits) -> int:
    if media_type == "application/json":
        return limits.bytes * 4 // 3 + _OVERHEAD  # base64
    return limits.bytes + _OVERHEAD


def _too_large(limits: Limits) -> HTTPException:
    return HTTPException(413, f"the image has more than {limits.bytes} bytes")


def _pushed_out() -> HTTPException:
    return HTTPException(503, "other requests need the memory; try again", TRY_AGAIN)


async def _receive(request: Request, deadline: float, held: Holder) -> Message:
    message: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
    try:
        remaining = deadline - asyncio.get_running_loop().time()
        await asyncio.wait({message, held.pushed_out}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
        if held.pushed_out.done():
            raise _pushed_out()
        if not message.done():
            raise HTTPException(408, "the body was not received in time")
        received: Message = message.result()
        return received
    finally:
        message.cancel()

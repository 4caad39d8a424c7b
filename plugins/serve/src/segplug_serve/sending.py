"""Sends the answer to a prediction in pieces, and gives back what the request has when all of it is sent."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from segplug.serving.answers import Answer
    from segplug_serve.memory import Shared

__all__ = ["PredictionResponse"]

_PIECE = 256 << 10
"""uvicorn copies what is sent. So a whole answer would be in memory twice."""

_log = logging.getLogger("segplug.serve")


class PredictionResponse(Response):
    """An answer whose client may read it slowly.

    A request keeps its place until all but the last 64 KiB of its answer are sent: otherwise any number of
    unread answers could fill the memory.

    Args:
        answer: The answer.
        memory: What all unread answers share.
        held: Closed when the answer is sent, or cannot be sent.
    """

    def __init__(self, answer: Answer, memory: Shared, held: ExitStack) -> None:
        super().__init__(answer.body, answer.status, dict(answer.headers), media_type=answer.content_type)
        self._memory, self._held = memory, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; cut it off if other answers need the memory."""
        with self._held, self._memory.holder() as unread:
            self._memory.take(unread, len(self.body))
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            # The last send waits until the buffer has room again.
            for first in range(0, len(self.body) + _PIECE, _PIECE):
                piece = bytes(self.body[first : first + _PIECE])
                message = {"type": "http.response.body", "body": piece, "more_body": bool(piece)}
                if not await _send_unless(unread.pushed_out, message, send):
                    _log.warning("an answer is cut off: its client reads slowly, and others need the memory")
                    return


async def _send_unless(pushed_out: asyncio.Future[None], message: Message, send: Send) -> bool:
    sent = asyncio.ensure_future(send(message))
    try:
        await asyncio.wait({sent, pushed_out}, return_when=asyncio.FIRST_COMPLETED)
        if pushed_out.done():
            return False
        sent.result()
        return True
    finally:
        sent.cancel()

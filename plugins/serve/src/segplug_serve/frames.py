"""The messages between the server and its reader processes: a JSON header, then raw bytes, through a pipe."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

__all__ = ["read_exactly", "read_header", "write_all", "write_frame"]

_LENGTH = struct.Struct("!I")
_MOST_HEADER = 1 << 24


def write_frame(pipe: int, header: dict[str, Any], body: Any = b"") -> None:
    """Write a header and the bytes of a buffer, whose number the header does not say by itself."""
    text = json.dumps(header).encode()
    write_all(pipe, _LENGTH.pack(len(text)) + text)
    write_all(pipe, body)


def write_all(pipe: int, buffer: Any) -> None:
    """Write a whole buffer; raises :class:`OSError` if the other side has ended."""
    left = memoryview(buffer).cast("B")
    while left:
        left = left[os.write(pipe, left) :]


def read_header(pipe: int) -> dict[str, Any]:
    """Read the next header; raises :class:`EOFError` if the other side has ended."""
    (size,) = _LENGTH.unpack(read_exactly(pipe, bytearray(_LENGTH.size)))
    if size > _MOST_HEADER:
        raise EOFError("the other side does not write frames")
    header: dict[str, Any] = json.loads(read_exactly(pipe, bytearray(size)))
    return header


def read_exactly(pipe: int, buffer: Any) -> Any:
    """Fill a buffer and return it; raises :class:`EOFError` if the other side has ended."""
    left = memoryview(buffer).cast("B")
    while left:
        count = os.readv(pipe, [left]) if hasattr(os, "readv") else _read_into(pipe, left)
        if not count:
            raise EOFError("the other side has ended")
        left = left[count:]
    return buffer


def _read_into(pipe: int, buffer: memoryview) -> int:
    content = os.read(pipe, min(len(buffer), 1 << 20))
    buffer[: len(content)] = content
    return len(content)

"""Hostile images."""

from __future__ import annotations

import struct
import zlib


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and then holds a row of zeros."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(bytes(64))) + _chunk(b"IEND", b"")


def bomb(edge: int = 20000) -> bytes:
    """A PNG of a few hundred kilobytes that unpacks to more than a gigabyte."""
    rows = zlib.compressobj(9)
    row = bytes(1 + 3 * edge)
    packed = b"".join(rows.compress(row) for _ in range(edge // 4)) + rows.flush()
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", edge, edge // 4, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

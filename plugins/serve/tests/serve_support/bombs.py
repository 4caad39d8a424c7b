"""Small files that are a lot of work for a decoder."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from serve_support.servers import png

__all__ = ["chunk", "endless_png", "png_of", "png_of_chunks", "png_of_texts", "scans", "tiff_of_pages"]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, compressed: bytes = b"", kind: int = 0) -> bytes:
    """A PNG of any declared size; without ``compressed``, a few of its rows are there."""
    rows = compressed or zlib.compress(bytes(1 << 20))
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def endless_png(gigabytes: int = 30) -> bytes:
    """About 1 MB for each GB that it unpacks to: its header is good, and only a decoder can find that out."""
    packer = zlib.compressobj(9)
    megabyte = bytes(1 << 20)
    first = packer.compress(megabyte) + packer.flush(zlib.Z_FULL_FLUSH)
    next_one = packer.compress(megabyte) + packer.flush(zlib.Z_FULL_FLUSH)
    return png_of(5000, 5000, first + next_one * 1024 * gigabytes, kind=2)


def scans(count: int, edge: int = 64) -> bytes:
    """A progressive JPEG that has its last scan again and again."""
    content = io.BytesIO()
    Image.new("L", (edge, edge), 100).save(content, "JPEG", progressive=True)
    jpeg = content.getvalue()
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def png_of_chunks(count: int) -> bytes:
    """A PNG with many empty chunks."""
    content = png(np.zeros((8, 8, 3), np.uint8))
    return content[:33] + chunk(b"abCd", b"") * count + content[33:]


def png_of_texts(count: int) -> bytes:
    """A PNG with texts that unpack to 7 MB each."""
    content = png(np.zeros((8, 8, 3), np.uint8))
    return content[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(7 << 20), 9)) * count + content[33:]


def tiff_of_pages(count: int) -> bytes:
    """A TIFF with many pages, or with ``count`` 0, pages in a circle."""
    import tifffile

    content = io.BytesIO()
    with tifffile.TiffWriter(content) as file:
        for _ in range(max(count, 1)):
            file.write(np.zeros((4, 4), np.uint8), contiguous=False)
    data = bytearray(content.getvalue())
    if count == 0:
        (first,) = struct.unpack_from("<I", data, 4)
        (entries,) = struct.unpack_from("<H", data, first)
        struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    return bytes(data)

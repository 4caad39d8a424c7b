"""What decoding costs beyond the number of pixels, found in the file before a decoder gets it.

A decoder goes through the whole image once for each scan of a progressive JPEG, and through every byte that
the texts of a PNG unpack to. A file of 1 MB can so take minutes, although its pixels are within the limits.
"""

from __future__ import annotations

import re

from segplug.errors import DatasetError
from segplug.runtime.reading.limits import Limits, TooLargeError

__all__ = ["JPEG_START", "PNG_START", "check_jpeg_cost", "check_png_cost", "has_jpeg_end"]

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)
"""A JPEG marker with a length, or the end. Those without a length (TEM, RST) stand inside of scans."""
_SCAN, _END = 0xDA, 0xD9
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_MOST_SEGMENTS = 1 << 14
"""Segments of a JPEG: an EXIF block, a table, a scan. 32 MB of metadata are 500 of them."""
_SCANS_OF_ALL_PIXELS = 20
"""Encoders write about 10 scans, and 13 at most. A server reads so many of its largest image."""
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_SPARE_PNG_BYTES = 1 << 16


def check_jpeg_cost(content: bytes, what: str, pixels: int, limits: Limits) -> None:
    """Refuse a JPEG of more scans, or more segments of metadata, than encoders write.

    Raises:
        TooLargeError: it has more scans than ``limits.scans``, or with ``limits.edge`` more than 20 scans of
            ``limits.pixels`` pixels, or the same work in more scans of a smaller image.
        DatasetError: it has too many segments.
    """
    scans, position, components = 0, len(JPEG_START), 0
    for _ in range(_MOST_SEGMENTS):
        marker = _MARKER.search(content, position)
        if marker is None or (kind := content[marker.end() - 1]) == _END:
            return
        position = marker.end() + max(_length(content, marker.end()), 2)
        if kind in _FRAMES and kind not in _PROGRESSIVE:
            components = content[marker.end() + 7] if marker.end() + 7 < len(content) else 0
        if kind != _SCAN:
            continue
        if not scans and components and content[marker.end() + 2 : marker.end() + 3] == bytes([components]):
            return  # all components in one scan, after which a decoder takes no other
        scans += 1
        if scans > limits.scans:
            raise TooLargeError(f"{what} is a JPEG of more than {limits.scans} scans, which are not read")
        if limits.edge is not None and scans * pixels > _SCANS_OF_ALL_PIXELS * limits.pixels:
            raise TooLargeError(f"{what} is a JPEG of {scans} scans or more: too many for {pixels} pixels")
    raise DatasetError(f"{what} is damaged: it has more than {_MOST_SEGMENTS} segments")


def has_jpeg_end(content: bytes) -> bool:
    """Go through the segments, so that the end of an embedded thumbnail does not count as the image's end."""
    position = len(JPEG_START)
    while marker := _MARKER.search(content, position):
        if content[marker.end() - 1] == _END:
            return True
        position = marker.end() + max(_length(content, marker.end()), 2)
    return False


def _length(content: bytes, position: int) -> int:
    return int.from_bytes(content[position : position + 2], "big")


def check_png_cost(content: bytes, what: str, limits: Limits) -> None:
    """Refuse a PNG of many chunks beside its pixels, or of compressed data that unpack to gigabytes.

    Raises:
        DatasetError: it has more chunks than ``limits.chunks``, or more data than its pixels can be.
        TooLargeError: its compressed texts have more bytes than ``limits.texts``.
    """
    position, chunks, texts, pixels = len(PNG_START), 0, 0, 0
    most = _most_png_pixels(content)
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        if kind == b"IEND":
            return
        if kind == b"IDAT":
            pixels += length
        else:
            chunks += 1
        if pixels > most:
            raise DatasetError(f"{what} is damaged: its compressed pixels are larger than the image")
        if kind in (b"zTXt", b"iTXt"):
            start = position + 8
            texts += length if kind == b"zTXt" or _is_compressed(content[start : start + 82]) else 0
        if chunks > limits.chunks:
            raise DatasetError(f"{what} is a PNG of more than {limits.chunks} chunks beside its pixels")
        if texts > limits.texts:
            raise TooLargeError(
                f"{what} is a PNG of more than {limits.texts} bytes of compressed text, which are not read"
            )
        position += 12 + length


def _most_png_pixels(content: bytes) -> int:
    """Bytes that the pixels may have when compressed: a tenth more than uncompressed, for small blocks."""
    width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    bits = content[24] * _PNG_CHANNELS.get(content[25], 4) if len(content) > 25 else 0
    rows = height + (height + 7) * (content[28:29] == b"\1")  # an interlaced image has up to twice the rows
    return (width * bits // 8 + 2) * rows * 11 // 10 + _SPARE_PNG_BYTES


def _is_compressed(international: bytes) -> bool:
    """Whether an iTXt chunk is compressed: the byte after its keyword of at most 79 bytes says it."""
    return international.partition(b"\0")[2][:1] == b"\1"

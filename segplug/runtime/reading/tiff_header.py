"""The header of a TIFF file, without a library: sizes before memory is taken, and GDAL's tags.

Pillow opens no TIFF of more than four channels or of three wide ones, and tifffile need not be installed
where OpenCV or Pillow decodes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from segplug.errors import DatasetError

__all__ = ["TiffHeader", "check_pages", "is_tiff", "read_header"]

_MAGIC = re.compile(rb"II[*+]\x00|MM\x00[*+]")
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Bytes of one value, by the number of its type."""
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _CHANNELS, _SAMPLE_FORMAT = (
    256,
    257,
    258,
    259,
    262,
    277,
    339,
)
_SUB_IFDS, _NODATA = 330, 42113
_SEGMENT_TAGS = frozenset((273, 279, 324, 325))
"""Offsets and sizes of strips and tiles."""
_MOST_ENTRIES = 1 << 18
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}


@dataclass(frozen=True)
class TiffHeader:
    """The first page of a TIFF file."""

    width: int
    height: int
    channels: int
    dtype: np.dtype[Any] | None
    """The type that its values are read as; ``None``: complex numbers, or wider than 8 bytes."""
    compression: int
    photometric: int
    nodata: str | None
    """The text of GDAL_NODATA."""

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return 16 if self.dtype is None else self.dtype.itemsize


@dataclass(frozen=True)
class _Entry:
    type: int
    count: int
    position: int
    """Where its values lie in the file."""

    @property
    def size(self) -> int:
        return self.count * _SIZES.get(self.type, 1)


def is_tiff(content: bytes) -> bool:
    """Whether this is a TIFF or BigTIFF file."""
    return _MAGIC.match(content) is not None


def read_header(content: bytes, what: str) -> TiffHeader:
    """Read the first page's header; raises :class:`DatasetError` if it is damaged."""
    try:
        entries, _ = _directory(content, _first_offset(content))
        found = dict(entries)
        if len(found) < len(entries):
            raise ValueError("a tag is there twice")  # readers disagree which one counts
        return _header(content, found)
    except (ValueError, struct.error) as error:
        raise _damaged(what, error) from error


def check_pages(content: bytes, what: str, most_segments: int) -> None:
    """Refuse a file whose pages take tifffile long to list, or whose chain of pages runs in a circle.

    Args:
        content: The whole file.
        what: The image, for messages.
        most_segments: The most offsets and sizes of strips and tiles in all pages.

    Raises:
        DatasetError: the message says what is wrong.
    """
    entries = segments = size = 0
    try:
        for directory in _directories(content):
            entries += len(directory)
            segments += sum(entry.count for tag, entry in directory if tag in _SEGMENT_TAGS)
            size += sum(entry.size for _, entry in directory)
            if entries > _MOST_ENTRIES or segments > most_segments:
                raise ValueError("it has too many pages, tags or tiles")
            if size > 4 * len(content):
                raise ValueError("its tags are larger than the file")
    except (ValueError, struct.error) as error:
        raise _damaged(what, error) from error


def _damaged(what: str, error: Exception) -> DatasetError:
    reason = error if isinstance(error, ValueError) else "the file is cut off"  # of struct
    return DatasetError(f"{what} is damaged: {reason}")


def _header(content: bytes, found: dict[int, _Entry]) -> TiffHeader:
    def number(tag: int, default: int | None = None) -> int:
        if tag not in found and default is not None:
            return default
        return _integers(content, found.get(tag), tag)[0]

    bits = max(_integers(content, found[_BITS], _BITS)) if _BITS in found else 1
    kind = _KINDS.get(number(_SAMPLE_FORMAT, 1))
    width = next((size for size in (8, 16, 32, 64) if bits <= size), None)
    if kind == "f" and width == 8:
        kind = None
    text = found.get(_NODATA)
    return TiffHeader(
        width=number(_WIDTH),
        height=number(_HEIGHT),
        channels=number(_CHANNELS, 1),
        dtype=None if kind is None or width is None else np.dtype(f"{kind}{width // 8}"),
        compression=number(_COMPRESSION, 1),
        photometric=number(_PHOTOMETRIC, 1),
        nodata=None if text is None else _text(content, text),
    )


def _order(content: bytes) -> str:
    return "<" if content[:2] == b"II" else ">"


def _is_big(content: bytes) -> bool:
    return b"+" in content[2:4]


def _first_offset(content: bytes) -> int:
    form, position = ("Q", 8) if _is_big(content) else ("I", 4)
    offset: int = struct.unpack_from(_order(content) + form, content, position)[0]
    return offset


def _directory(content: bytes, offset: int) -> tuple[list[tuple[int, _Entry]], int]:
    """The tags of one page, and the offset of the next one; 0: there is none."""
    order, big = _order(content), _is_big(content)
    counts, entry, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    if not 8 <= offset < len(content):
        raise ValueError("the file is cut off")
    number = struct.unpack_from(order + counts, content, offset)[0]
    position = offset + struct.calcsize("=" + counts)
    step = struct.calcsize("=" + entry) + inline
    if position + number * step + inline > len(content):
        raise ValueError("the file is cut off")
    pointer = order + ("Q" if big else "I")
    entries = []
    for _ in range(number):
        tag, kind, count = struct.unpack_from(order + entry, content, position)
        where = position + step - inline
        if count * _SIZES.get(kind, 1) > inline:
            where = struct.unpack_from(pointer, content, where)[0]
        entries.append((tag, _Entry(kind, count, where)))
        position += step
    return entries, struct.unpack_from(pointer, content, position)[0]


def _directories(content: bytes) -> Iterator[list[tuple[int, _Entry]]]:
    """The tags of every page, and of the smaller images that belong to it."""
    offset, seen = _first_offset(content), set[int]()
    while offset:
        if offset in seen:
            raise ValueError("its pages run in a circle")
        seen.add(offset)
        directory, offset = _directory(content, offset)
        yield directory
        for tag, entry in directory:
            if tag == _SUB_IFDS:
                for inner in _integers(content, entry, tag):
                    yield _directory(content, inner)[0]


def _integers(content: bytes, entry: _Entry | None, tag: int) -> tuple[int, ...]:
    form = None if entry is None else _INTEGERS.get(entry.type)
    if entry is None or form is None or entry.count < 1:
        raise ValueError(f"it has no tag {tag}, or one without a number")
    if entry.position + entry.size > len(content):
        raise ValueError("the file is cut off")
    return struct.unpack_from(f"{_order(content)}{entry.count}{form}", content, entry.position)


def _text(content: bytes, entry: _Entry) -> str:
    raw = content[entry.position : entry.position + entry.size]
    return raw.partition(b"\0")[0].decode("ascii", "replace").strip()

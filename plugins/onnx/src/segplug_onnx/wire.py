"""Read and write the part of the protobuf wire format that ONNX files need, on streams.

With it, and without the onnx package: metadata is read and replaced without loading the weights; a file that
was cut is recognised by the lengths that it states itself; and a model is written tensor by tensor, so that
memory never holds a second copy of all weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["Field", "MalformedError", "bytes_field", "copy_range", "field_header", "fields", "number_field"]

_BLOCK = 1 << 20
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class MalformedError(ValueError):
    """The bytes are not a protobuf message, or only a part of one. The text says which."""


@dataclass(frozen=True)
class Field:
    """The place of one field of a message in a stream (offsets in bytes)."""

    number: int
    start: int
    """Start of its tag."""
    content: int
    """Start of its content, after tag and length."""
    end: int


def fields(stream: BinaryIO, start: int, end: int) -> Iterator[Field]:
    """The fields of the message between two offsets of ``stream``; contents are not read.

    Raises:
        MalformedError: the bytes are not a message, or a field ends after ``end``.
    """
    position = start
    while position < end:
        stream.seek(position)
        tag = _read_varint(stream)
        length = _content_length(stream, tag & 7)
        content = stream.tell()
        if tag >> 3 == 0:
            raise MalformedError("it is not a protobuf message")
        if content + length > end:
            raise MalformedError(f"it has {end} bytes instead of at least {content + length}")
        yield Field(number=tag >> 3, start=position, content=content, end=content + length)
        position = content + length


def _content_length(stream: BinaryIO, kind: int) -> int:
    """The length of the content in bytes. Leaves the stream at the start of the content."""
    if kind == _BYTES:
        return _read_varint(stream)
    if kind == _VARINT:
        before = stream.tell()
        _read_varint(stream)
        length = stream.tell() - before
        stream.seek(before)
        return length
    if kind in (_FIXED64, _FIXED32):
        return 8 if kind == _FIXED64 else 4
    raise MalformedError("it is not a protobuf message")


def _read_varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            raise MalformedError("it ends inside a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise MalformedError("it is not a protobuf message")


def field_header(number: int, length: int) -> bytes:
    """Tag and length of a field whose ``length`` bytes of content follow."""
    return _varint(number << 3 | _BYTES) + _varint(length)


def bytes_field(number: int, content: bytes) -> bytes:
    """A whole field that holds text, bytes or a message."""
    return field_header(number, len(content)) + content


def number_field(number: int, value: int) -> bytes:
    """A whole field that holds a number that is not negative."""
    return _varint(number << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def copy_range(source: BinaryIO, destination: BinaryIO, start: int, end: int) -> None:
    """Append the bytes between two offsets of ``source`` to ``destination``."""
    source.seek(start)
    left = end - start
    while left > 0:
        block = source.read(min(left, _BLOCK))
        if not block:
            raise MalformedError("it became shorter while it was read")
        destination.write(block)
        left -= len(block)

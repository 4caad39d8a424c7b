"""Check the zip file itself: that PyTorch's reader finds the same entries as Python's, of the same bytes.

PyTorch looks entries up without regard to case, trusts other headers than Python does where they differ,
and takes bytes before and after the archive differently. So an archive that both could read differently
is refused: what was checked would not be what is opened.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from segplug.regular_files import open_regular
from segplug_torchscript.checks.findings import Finding, shown

__all__ = ["Members", "checked_members"]

_ODD = "is no zip file as PyTorch writes them"
_NAME = re.compile(r"[ -\[\]-~]+")
"""Printable ASCII without backslashes."""
_COMPRESSED = re.compile(r"code/.*")
_MOST_UNPACKED = 64 << 20
"""Bytes of all compressed entries: the code of a network, at most some megabytes."""

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL_2, _FULL_4 = 0xFFFF, 0xFFFFFFFF
_DESCRIPTORS = (0, 12, 16, 20, 24)
"""The sizes of what may follow the bytes of an entry: nothing, or its sizes once more."""


@dataclass(frozen=True)
class _Entry:
    name: str
    method: int
    packed: int
    size: int
    offset: int


class Members:
    """The entries of a checked archive by their names inside its folder."""

    def __init__(self, archive: zipfile.ZipFile, root: str, sizes: Mapping[str, int]) -> None:
        self._archive, self._root = archive, root
        self.sizes = sizes
        """Unpacked bytes by name."""

    def read(self, name: str, *, most: int = _MOST_UNPACKED) -> bytes:
        """The bytes of an entry.

        Raises:
            Finding: it is not there, or larger than ``most``.
        """
        if name not in self.sizes:
            raise Finding(f"has no {name}")
        if self.sizes[name] > most:
            raise Finding(f"has {self.sizes[name]:,} bytes of {shown(name)}, more than can be checked")
        return self._archive.read(f"{self._root}/{name}")


@contextmanager
def checked_members(path: Path) -> Iterator[Members]:
    """The entries of an archive that both readers see alike; open while the context is.

    Raises:
        Finding: they may differ.
    """
    try:
        with open_regular(path) as file:
            entries = _entries(file)
            with zipfile.ZipFile(file) as archive:
                seen = [(info.orig_filename, info.header_offset) for info in archive.infolist()]
                if seen != [(entry.name, entry.offset) for entry in entries]:
                    raise Finding(_ODD)
                root = _root(entries)
                sizes = {entry.name[len(root) + 1 :]: entry.size for entry in entries}
                _refuse_unpacking(entries, root)
                yield Members(archive, root, sizes)
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError, OSError, zlib.error) as error:
        raise Finding(_ODD) from error


def _root(entries: list[_Entry]) -> str:
    """The folder of all entries."""
    names = [entry.name for entry in entries]
    folded = {name.lower() for name in names}
    root = names[0].partition("/")[0] if names else ""
    if not root or len(folded) != len(names):
        raise Finding(f"{_ODD}: names occur twice")
    for name in names:
        parts = name.split("/")
        if not _NAME.fullmatch(name) or parts[0] != root or len(parts) < 2 or {"", ".", ".."} & {*parts}:
            raise Finding(f"{_ODD}: it holds '{shown(name)}'")
    return root


def _refuse_unpacking(entries: list[_Entry], root: str) -> None:
    unpacked = 0
    for entry in entries:
        name = entry.name[len(root) + 1 :]
        if entry.method == zipfile.ZIP_STORED and entry.packed == entry.size:
            continue
        if entry.method != zipfile.ZIP_DEFLATED or not _COMPRESSED.fullmatch(name):
            raise Finding(f"{_ODD}: it packs '{shown(name)}'")
        unpacked += entry.size
    if unpacked > _MOST_UNPACKED:
        raise Finding(f"unpacks to {unpacked:,} bytes of code, more than can be checked")


def _entries(file: BinaryIO) -> list[_Entry]:
    """The central directory, which must end where the end record begins."""
    end = file.seek(0, 2) - _END.size
    mark, *disks, here, count, size, offset, comment = _unpack(_END, file, end)
    if mark != b"PK\5\6" or any(disks) or here != count or comment:
        raise Finding(_ODD)
    begins = end
    if end >= _LOCATOR_64.size and _read(file, end - _LOCATOR_64.size, 4) == b"PK\6\7":
        begins = end - _LOCATOR_64.size - _END_64.size
        _, disk, where, _ = _unpack(_LOCATOR_64, file, end - _LOCATOR_64.size)
        mark, length, _, _, *disks, here, large_count, large_size, large_offset = _unpack(
            _END_64, file, begins
        )
        same = all(
            small in (large, full)
            for small, large, full in (
                (count, large_count, _FULL_2),
                (size, large_size, _FULL_4),
                (offset, large_offset, _FULL_4),
            )
        )
        if (mark, length, where) != (b"PK\6\6", _END_64.size - 12, begins) or disk or any(disks) or not same:
            raise Finding(_ODD)
        count, size, offset = large_count, large_size, large_offset
    if offset + size != begins or count * _ENTRY.size > size:
        raise Finding(_ODD)
    entries = _directory(_read(file, offset, size), count)
    _check_headers(file, sorted(entries, key=lambda entry: entry.offset), offset)
    return entries


def _directory(content: bytes, count: int) -> list[_Entry]:
    entries, at = [], 0
    for _ in range(count):
        fields = _ENTRY.unpack_from(content, at)
        mark, _, _, flags, method, _, _, _, packed, size, named, extra, comment, disk, _, _, offset = fields
        at += _ENTRY.size
        name = content[at : at + named].decode("latin-1")
        wide = _large_fields(content[at + named : at + named + extra])
        at += named + extra
        if mark != b"PK\1\2" or comment or disk or flags & 0b1 or len(name) != named:
            raise Finding(_ODD)
        values = [next(wide, -1) if value == _FULL_4 else value for value in (size, packed, offset)]
        if min(values) < 0:
            raise Finding(_ODD)
        entries.append(_Entry(name, method, values[1], values[0], values[2]))
    if at != len(content):
        raise Finding(_ODD)
    return entries


def _large_fields(extra: bytes) -> Iterator[int]:
    """The sizes and offsets of an entry that need more than four bytes."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            return iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
        at += 4 + length
    return iter(())


def _check_headers(file: BinaryIO, entries: list[_Entry], end: int) -> None:
    """The entries' own headers must say the same, and follow one another without gaps."""
    expected = 0
    for entry in entries:
        if entry.offset - expected not in _DESCRIPTORS or (entry is entries[0] and entry.offset):
            raise Finding(_ODD)
        mark, _, _, method, _, _, _, packed, size, named, extra = _unpack(_LOCAL, file, entry.offset)
        name = _read(file, entry.offset + _LOCAL.size, named).decode("latin-1")
        if mark != b"PK\3\4" or method != entry.method or name != entry.name:
            raise Finding(_ODD)
        if packed not in (0, entry.packed, _FULL_4) or size not in (0, entry.size, _FULL_4):
            raise Finding(_ODD)
        expected = entry.offset + _LOCAL.size + named + extra + entry.packed
    if end - expected not in _DESCRIPTORS:
        raise Finding(_ODD)


def _unpack(form: struct.Struct, file: BinaryIO, at: int) -> tuple[Any, ...]:
    return form.unpack(_read(file, at, form.size))


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    if at < 0:
        raise Finding(_ODD)
    file.seek(at)
    return file.read(size)

"""Show the text of strangers: a file's name, a class's name, the words of an error.

A terminal obeys escape codes, bidi marks change the order of the text around them, and neither is seen.
"""

from __future__ import annotations

import unicodedata
from typing import Any

__all__ = [
    "counted",
    "encodable",
    "encodable_data",
    "in_bytes",
    "is_encodable",
    "printable",
    "printable_line",
    "shortened",
]

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode: controls, invisible format characters, surrogates, line and paragraph separators."""

_SPELLING = frozenset("\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2")
"""Format characters that words and emoji are spelt with: they join letters, or are visible signs."""

_BYTES = range(0xDC80, 0xDD00)
"""Surrogates by which Python stands for the bytes of a file name that are not UTF-8 (PEP 383)."""


def printable(text: str) -> str:
    r"""The text with what is invisible, or moves other text, as escapes like ``\x1b`` and ``\u202e``.

    Line ends and tabs stay. So does the ordinary text of every language. A byte of a file name that is not
    UTF-8 becomes ``\xff``.
    """
    # Nearly all text takes this way out.
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def printable_line(text: str) -> str:
    r"""As :func:`printable`, on one line: line ends become ``\n``, tabs ``\t``."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 image``, ``2 images``; ``plural``: where it is not the noun and an ``s`` (``classes``)."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def in_bytes(size: int) -> str:
    """A size for people: ``2.2 MB``, ``813 bytes``."""
    if size < 1000:
        return counted(size, "byte")
    return f"{size / 1e3:.1f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def shortened(text: str, most: int) -> str:
    """The text, or its beginning and end with three dots between them if it has more characters."""
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def encodable(text: str) -> str:
    """The text with lone surrogates as escapes: UTF-8 cannot hold them, and parsers of JSON refuse them."""
    if is_encodable(text):
        return text
    return "".join(
        _visible(character) if unicodedata.category(character) == "Cs" else character for character in text
    )


def encodable_data(data: Any) -> Any:
    """JSON data with every text as :func:`encodable` gives it."""
    if isinstance(data, dict):
        return {encodable(key): encodable_data(item) for key, item in data.items()}
    if isinstance(data, list):
        return [encodable_data(item) for item in data]
    return encodable(data) if isinstance(data, str) else data


def is_encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8; file names may have bytes that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _visible(character: str) -> str:
    if character in "\n\t" or character in _SPELLING or unicodedata.category(character) not in _ESCAPED:
        return character
    if character == "\r":
        return r"\r"
    code = ord(character)
    if code in _BYTES:
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

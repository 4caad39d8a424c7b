"""Read a palette from a file: text, CSV, JSON, or a palette of GIMP."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from segplug.errors import UsageError
from segplug.regular_files import read_regular_text
from segplug.text import shortened

__all__ = ["read_palette"]

_MOST_BYTES = 4 << 20
"""Of a palette file: 65536 classes with long names need less."""

_HEX = re.compile(r"#?([0-9a-fA-F]{6})(?=$|[\s,;])")
_NUMBERS = re.compile(r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})(?=$|[\s,;])")
_COMMENT = re.compile(r"#(?![0-9a-fA-F]{6}(?:$|[\s,;]))")
_GIMP = "GIMP Palette"
_GIMP_HEADER = re.compile(r"(Name|Columns):")
_FORMS = (
    "a palette file has one colour a line (R G B or #rrggbb, then the name of the class if you like), is a "
    "CSV with the columns r, g and b, a JSON list of colours, or a palette of GIMP (.gpl)"
)

Colour = tuple[int, int, int]


def read_palette(path: str, *, names: Sequence[str]) -> tuple[Colour, ...]:
    """The colours of a palette file, in the order of the labels; names of classes in it are not used.

    Forms: text with one colour a line, ``R G B [name]`` or ``#rrggbb [name]``, with spaces, commas or
    semicolons between, and lines that begin with ``#`` and no colour as comments; CSV whose first line names
    the columns ``r``, ``g``, ``b`` (or ``red``, ``green``, ``blue``); JSON: a list of ``[r, g, b]`` or
    ``"#rrggbb"``; a palette of GIMP (``.gpl``).

    Args:
        path: The file, in UTF-8.
        names: The names of palettes that are no files, for the message.

    Raises:
        UsageError: it is not there, or not one of these forms.
    """
    try:
        text = read_regular_text(path, most_bytes=_MOST_BYTES).removeprefix("\ufeff")
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise UsageError(f"the palette {path} is no text in UTF-8", hint=_FORMS) from error
        raise UsageError(
            f"there is no palette {path}: neither a name nor a file",
            hint=f"names: {', '.join(names)}",
        ) from error
    except OSError as error:
        raise UsageError(f"cannot read the palette {path}: {error.strerror or error}") from error
    lines = [line.strip() for line in text.splitlines()]
    if text.lstrip().startswith(("[", "{")):
        colours = _from_json(text, path)
    elif (columns := _columns(lines)) is not None:
        colours = _from_csv(lines, columns, path)
    else:
        colours = _from_lines(lines, path)
    if not colours:
        raise UsageError(f"the palette {path} has no colours", hint=_FORMS)
    return tuple(colours)


def _from_json(text: str, path: str) -> list[Colour]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the palette {path} is no JSON: {error}", hint=_FORMS) from error
    if not isinstance(data, list):
        raise UsageError(f"the palette {path} is no list of colours", hint=_FORMS)
    return [_colour(item, f"colour {number} of the palette {path}") for number, item in enumerate(data)]


def _columns(lines: Sequence[str]) -> tuple[int, int, int] | None:
    """The places of red, green and blue in a CSV's rows; ``None``: its first line does not name them."""
    try:
        names = [name.strip().lower() for name in next(csv.reader(lines[:1]), [])]
    except csv.Error:
        return None
    for wanted in (("r", "g", "b"), ("red", "green", "blue")):
        if all(name in names for name in wanted):
            red, green, blue = (names.index(name) for name in wanted)
            return red, green, blue
    return None


def _from_csv(lines: Sequence[str], columns: tuple[int, int, int], path: str) -> list[Colour]:
    try:
        rows = [row for row in csv.reader(lines[1:]) if row]
    except csv.Error as error:
        raise UsageError(f"the palette {path} is no CSV: {error}", hint=_FORMS) from error
    return [
        _colour([_cell(row, column) for column in columns], f"row {number} of the palette {path}")
        for number, row in enumerate(rows, start=1)
    ]


def _cell(row: Sequence[str], column: int) -> Any:
    text = row[column].strip() if column < len(row) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else text


def _from_lines(lines: Sequence[str], path: str) -> list[Colour]:
    is_gimp = bool(lines) and lines[0] == _GIMP
    colours = []
    for number, line in enumerate(lines, start=1):
        if not line or _COMMENT.match(line) or (is_gimp and (number == 1 or _GIMP_HEADER.match(line))):
            continue
        found = _NUMBERS.match(line)
        named = None if found else _HEX.match(line)
        value: Any = [int(part) for part in found.groups()] if found else named and "#" + named.group(1)
        colours.append(_colour(line if value is None else value, f"line {number} of the palette {path}"))
    return colours


def _colour(value: Any, where: str) -> Colour:
    """One colour: three whole numbers from 0 to 255, or ``#rrggbb``."""
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        number = int(value[1:], 16)
        return number >> 16, number >> 8 & 255, number & 255
    if _is_triple(value):
        red, green, blue = value
        return red, green, blue
    shown = shortened(value if isinstance(value, str) else json.dumps(value), 60)
    raise UsageError(f"{where} is no colour: {shown}", hint=_FORMS)


def _is_triple(value: Iterable[Any]) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in value)
    )

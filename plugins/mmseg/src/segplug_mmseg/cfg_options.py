"""The values of ``--cfg-options``: as mmcv and mmengine read them, but text keeps its spaces.

Their ``DictAction`` removes every space, so that a folder with a space in its name cannot be given.
Everything else is equal: quotes around a value are removed, and commas separate values, in quotes, too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from segplug.errors import UsageError

__all__ = ["parse_cfg_options"]

_QUOTES = "'\""


def parse_cfg_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Turn strings into values; other values stay as they are.

    ``"1"``, ``"0.5"``, ``"true"`` and ``"None"`` become these values; ``"a,b"`` and ``"[a,b]"`` a list,
    ``"(a,b)"`` a tuple, also nested.

    Raises:
        UsageError: the brackets of a value do not match.
    """
    values = {}
    for key, value in options.items():
        try:
            values[key] = _parse(value) if isinstance(value, str) else copy.deepcopy(value)
        except (_UnbalancedError, RecursionError) as error:
            raise UsageError(f"--cfg-options {key}={value[:200]}: the brackets do not match") from error
    return values


class _UnbalancedError(Exception):
    pass


def _parse(text: str) -> Any:
    """One value: a number, a word, a text, or a list or tuple of values."""
    text = text.strip(_QUOTES)
    bare = text.strip(" ")
    if bare.startswith("(") and bare.endswith(")"):
        return tuple(_parse(item) for item in _items(bare[1:-1]))
    if bare.startswith("[") and bare.endswith("]"):
        return [_parse(item) for item in _items(bare[1:-1])]
    if "," in bare:
        return [_parse(item) for item in _items(bare)]
    return _scalar(text)


def _items(text: str) -> Iterator[str]:
    """What the commas outside of brackets separate; nothing comes after the last one."""
    text = text.strip(" ")
    while text:
        if text.count("(") != text.count(")") or text.count("[") != text.count("]"):
            raise _UnbalancedError
        end = _first_comma(text)
        yield text[:end].strip(" ")
        text = text[end + 1 :].strip(" ")


def _first_comma(text: str) -> int:
    """The position of the first comma that is in no brackets; the text's end, if there is none."""
    round_ones = square_ones = 0
    for position, character in enumerate(text):
        if character == "," and round_ones == square_ones == 0:
            return position
        round_ones += (character == "(") - (character == ")")
        square_ones += (character == "[") - (character == "]")
    return len(text)


def _scalar(text: str) -> Any:
    packed = text.replace(" ", "")
    for kind in (int, float):
        try:
            return kind(packed)
        except ValueError:
            pass
    words = {"true": True, "false": False}
    if packed.lower() in words:
        return words[packed.lower()]
    return None if packed == "None" else text

"""Read the Python literals that Ultralytics writes as text, within bounds."""

from __future__ import annotations

import ast
import re
from typing import Any

__all__ = ["literal"]

_MOST = 4 << 20
"""Characters. The names of 65,535 classes have some 2 million."""
_DEEPEST = 8
"""Brackets in each other. Ultralytics writes two."""
_TEXTS = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
_WORDS = re.compile(r"(?<![\w.])[^\W\d]\w*")
"""Not the exponent of a number."""
_PLAIN = re.compile(r"[\w\s\[\](){},:.+-]*", re.ASCII)
_SIGNS = re.compile(r"[+-]\s*[+-]")
_NAMES = frozenset({"True", "False", "None"})


def literal(text: str) -> Any:
    """The value of a Python literal.

    Python's own reader is asked only for what cannot make it deep or slow: signs without end and brackets
    without end would.

    Raises:
        ValueError: the text is no literal, or is none that a tool writes.
    """
    if len(text) > _MOST:
        raise ValueError("it is too long")
    rest = _TEXTS.sub("", text)
    if not _PLAIN.fullmatch(rest) or _SIGNS.search(rest) or _depth(rest) > _DEEPEST:
        raise ValueError("it is no literal")
    if not _NAMES.issuperset(_WORDS.findall(rest)):
        raise ValueError("it holds more than literals")
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("it is no literal") from error


def _depth(text: str) -> int:
    deepest = depth = 0
    for sign in text:
        if sign in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in ")]}":
            depth -= 1
    return deepest

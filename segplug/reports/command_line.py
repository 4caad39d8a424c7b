"""A command as a page shows it: ready to paste into a shell, and without secrets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit, urlunsplit

__all__ = ["command_line"]

_SECRET = re.compile(
    r"(^|[-_.])(token|password|passwd|secret|credentials?|api[-_]?key)($|[-_.])", re.IGNORECASE
)
"""What a flag or a setting is called whose value is nobody else's business."""

_HIDDEN = "..."


def command_line(arguments: Sequence[str]) -> str:
    """The command ``segplug`` with these arguments, on one line.

    The value of a flag or of a ``KEY=VALUE`` that is called a token, password or the like becomes ``...``.
    So do the user and the query of an address.
    """
    return shlex.join(["segplug", *_shown(arguments)])


def _shown(arguments: Sequence[str]) -> Iterator[str]:
    hide_next = False
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if hide_next:
            yield _HIDDEN
        elif equals and _SECRET.search(key.lstrip("-")):
            yield f"{key}={_HIDDEN}"
        elif equals and key.replace("-", "").replace("_", "").replace(".", "").isalnum():
            yield f"{key}={_without_secrets(value)}"
        else:
            yield _without_secrets(argument)
        hide_next = argument.startswith("--") and not equals and bool(_SECRET.search(argument[2:]))


def _without_secrets(word: str) -> str:
    """An address without its user, password and query, each of which may hold a key."""
    if "://" not in word:
        return word
    try:
        parts = urlsplit(word)
    except ValueError:
        return _HIDDEN
    host = parts.netloc.rpartition("@")
    place = f"{_HIDDEN}@{host[2]}" if host[1] else parts.netloc
    return urlunsplit((parts.scheme, place, parts.path, _HIDDEN if parts.query else "", ""))

"""A command as a page shows it: ready to paste into a shell, and without secrets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

__all__ = ["command_line"]

_SECRET = re.compile(
    r"(?:^|[-_.]|(?<=[a-z])(?=[A-Z]))"
    r"(?i:token|password|passwd|secret|credentials?|auth|(?:api|access|private)[-_]?key)"
    r"(?:$|[-_.]|(?=[A-Z]))"
)
"""What a flag or a setting is called whose value is nobody else's business."""

_ADDRESS = re.compile(r"(://)([^/?#\s]*@)?([^?#\s]*)([?#]\S*)?")
"""From the ``://`` of an address on: user, host and path, query and fragment."""

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
    """The addresses in it without user, password, query and fragment, each of which may hold a key."""

    def shown(found: re.Match[str]) -> str:
        start, user, place, query = found.groups()
        return f"{start}{_HIDDEN + '@' if user else ''}{place}{'?' + _HIDDEN if query else ''}"

    return _ADDRESS.sub(shown, word)

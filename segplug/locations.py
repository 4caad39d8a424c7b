"""Tell a path from a location with a scheme (``python:``), which a source of models or data sets reads."""

from __future__ import annotations

import re

__all__ = ["has_scheme"]

_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")


def has_scheme(location: str) -> bool:
    """Whether ``location`` begins with a scheme (``python:``), and so is not a path.

    A scheme has two letters or more: one letter is a drive of Windows.
    """
    return _SCHEME.match(location) is not None

"""Where a model or a data set is: a path, or a scheme and what follows it, which its source reads."""

from __future__ import annotations

import re

__all__ = ["has_scheme"]

_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")


def has_scheme(location: str) -> bool:
    """Whether ``location`` begins with a scheme (``python:``), and so is no path.

    A scheme has two letters or more: one letter is a drive of Windows.
    """
    return _SCHEME.match(location) is not None

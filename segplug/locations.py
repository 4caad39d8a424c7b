"""Tell a path from a location with a scheme (``python:``), and from the name of a repository on a hub."""

from __future__ import annotations

import os
import re

__all__ = ["has_scheme", "repository_name"]

_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")
_NAME = r"(?P<owner>[A-Za-z0-9][\w.-]*)/(?P<name>[A-Za-z0-9][\w.-]*)"
_REPOSITORY = re.compile(_NAME)
_ADDRESS = re.compile(
    rf"https?:/{{1,2}}(?:www\.)?(?:huggingface\.co|hf\.co)/(?:datasets/)?{_NAME}(?:[/?#].*)?"
)
"""With one slash, too, which is what a ``Path`` leaves of it."""
_FILE = re.compile(r"\.[A-Za-z]\w{0,11}")
"""The suffix of a file; versions in names (``v1.5``) begin with a digit."""


def has_scheme(location: str) -> bool:
    """Whether ``location`` begins with a scheme (``python:``), and so is not a path.

    A scheme has two letters or more: one letter is a drive of Windows.
    """
    return _SCHEME.match(location) is not None


def repository_name(location: str) -> str | None:
    """``OWNER/NAME``, if a location that leads to no file may be a repository on the Hugging Face hub.

    Its address counts, too. A path in a folder that is there, and what ends in a file's suffix, is none.
    """
    address = _ADDRESS.fullmatch(location)
    found = address or _REPOSITORY.fullmatch(location)
    if found is None:
        return None
    if address is None and (
        os.path.isdir(found["owner"]) or _FILE.fullmatch(os.path.splitext(found["name"])[1])
    ):
        return None
    return f"{found['owner']}/{found['name']}"

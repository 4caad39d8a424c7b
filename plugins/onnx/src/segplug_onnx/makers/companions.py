"""Read the JSON files that a tool writes beside an ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segplug.errors import ArtifactError
from segplug.regular_files import read_regular_text

__all__ = ["read_companion"]

_MOST = 16 << 20
"""Bytes. Real ones have some 100,000 at most: the names of 20,000 classes."""
_DEEPEST = 64
"""Objects and lists in each other. Real ones have at most 8."""


def read_companion(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ArtifactError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(read_regular_text(file, most_bytes=_MOST))
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{file} holds no JSON object")
    layer: list[Any] = [content]
    for _ in range(_DEEPEST):
        inside = [item.values() if isinstance(item, dict) else item for item in layer]
        layer = [each for items in inside for each in items if isinstance(each, (dict, list))]
    if layer:
        raise ArtifactError(f"{file} has more than {_DEEPEST} objects and lists in each other")
    return content

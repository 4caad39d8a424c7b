"""Read the JSON files that a tool writes beside an ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segplug.errors import ArtifactError
from segplug.regular_files import read_regular_text
from segplug.validation import refuse_deep

__all__ = ["read_companion"]

_MOST = 16 << 20
"""Bytes. Real ones have some 100,000 at most: the names of 20,000 classes."""


def read_companion(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ArtifactError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(read_regular_text(file, most_bytes=_MOST))
        refuse_deep(content, str(file))
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{file} holds no JSON object")
    return content

"""Read the JSON files that a tool writes beside an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segplug.errors import ArtifactError, ModelError
from segplug.model_folder import read_json

__all__ = ["read_companion"]


def read_companion(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ArtifactError: it cannot be read, or holds something else; here it describes an artifact.
    """
    try:
        return read_json(file)
    except ModelError as error:
        raise ArtifactError(error.message, hint=error.hint) from error

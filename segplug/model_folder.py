"""Read a folder that ``save_pretrained`` of a library wrote: its JSON as data, and which files are there.

Libraries that share Hugging Face's conventions write ``config.json`` beside weights. Nothing of such a folder
runs, and nothing is fetched.
"""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

from segplug.errors import ModelError
from segplug.regular_files import is_regular, read_regular_text, why_no_file

__all__ = ["CONFIG", "inner_models", "is_there", "literal", "model_name", "read_json"]

CONFIG = "config.json"

_MOST_JSON = 1 << 24
"""Bytes. The longest config of a model of its own has some 100,000: the names of 20,000 classes."""
_MOST_NESTED = 64
"""Objects and lists in each other. Real configs have at most 6."""
_STEPS = re.compile(r"[0-9]{1,18}")


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ModelError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(read_regular_text(file, most_bytes=_MOST_JSON))
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} holds no JSON object")
    if _is_nested(content):
        raise ModelError(f"{file} has more than {_MOST_NESTED} objects and lists in each other")
    return content


def is_there(file: Path) -> bool:
    """Whether a file is there.

    Raises:
        ModelError: what has its name is no file, and to take another one would hide that.
    """
    if not os.path.lexists(file):
        return False
    reason = why_no_file(file)
    if reason is None:
        return True
    if os.path.exists(file):
        raise ModelError(reason)
    raise ModelError(f"{file} is a link that leads to no file", hint="download the whole folder")


def inner_models(path: Path, *patterns: str) -> list[Path]:
    """The models in a folder of several, such as the hub's cache, the newest last.

    Args:
        path: The folder.
        patterns: Where its models lie, such as ``snapshots/*``. Of two as old as each other, the one with the
            larger number of steps in its name (``checkpoint-200``) is the newer one.
    """
    found = [file for pattern in patterns for file in path.glob(f"{pattern}/{CONFIG}") if is_regular(file)]
    return [file.parent for file in sorted(found, key=_age)]


def _age(file: Path) -> tuple[float, int, Path]:
    _, _, steps = file.parent.name.partition("-")  # a copy may have one time for all
    return os.path.getmtime(file), int(steps) if _STEPS.fullmatch(steps) else 0, file


def model_name(path: Path) -> str:
    """The name of the model in a folder: the folder's, or the repository's for a snapshot in the hub's cache.

    The cache lies in ``models--ORG--NAME/snapshots/HASH``.
    """
    path = Path(os.path.abspath(path))  # without the links of a cache, and without ".."
    repository = path.parent.parent.name
    if path.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.rpartition("--")[2]
    return path.name


def literal(value: Any) -> Any:
    """The value that a text is as JSON or as a Python literal; other texts, and other types, as they are."""
    if not isinstance(value, str):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value


def _is_nested(content: Any) -> bool:
    """Whether more objects and lists are in each other than code that calls itself should follow."""
    level = [content]
    for _ in range(_MOST_NESTED):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return bool(level)

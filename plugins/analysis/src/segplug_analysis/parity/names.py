"""Names of files in the work folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["file_name", "short_hash"]

_HASH_DIGITS = 12


def file_name(text: str) -> str:
    """A text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)


def short_hash(data: Mapping[str, Any]) -> str:
    """A hash of JSON types for names of files: equal data has equal hashes."""
    text = json.dumps(data, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]

"""The time now, for what is written into files."""

from __future__ import annotations

import os
from datetime import datetime, timezone

__all__ = ["now"]


def now() -> datetime:
    """The local time to the second, or the one that repeatable builds set (reproducible-builds.org)."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    if fixed.isdecimal():
        return datetime.fromtimestamp(int(fixed), timezone.utc)
    return datetime.now().astimezone().replace(microsecond=0)

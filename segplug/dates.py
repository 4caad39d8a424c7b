"""The time now, for what is written into files."""

from __future__ import annotations

import os
from datetime import datetime, timezone

from segplug.errors import UsageError

__all__ = ["now"]


def now() -> datetime:
    """The local time to the second, or the one that repeatable builds set (reproducible-builds.org).

    Raises:
        UsageError: what they set is no time: ``SOURCE_DATE_EPOCH`` is in seconds since 1970.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    if fixed:
        try:
            return datetime.fromtimestamp(int(fixed), timezone.utc)
        except (ValueError, OverflowError, OSError) as error:
            raise UsageError(
                f"SOURCE_DATE_EPOCH is '{fixed[:40]}', which is no number of seconds since 1970",
                hint="unset it, or set it as repeatable builds do",
            ) from error
    return datetime.now().astimezone().replace(microsecond=0)

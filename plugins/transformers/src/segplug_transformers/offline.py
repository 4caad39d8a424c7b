"""Call transformers so that it fetches nothing and prints nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from segplug.quiet import quiet

__all__ = ["offline"]

_LOCK = threading.RLock()
"""What the block changes belongs to the process."""


@contextmanager
def offline() -> Iterator[None]:
    """The hub counts as out of reach while the block runs; log lines and progress bars are dropped.

    A config that names something on the hub then raises an error of the hub's library, as it does where
    ``HF_HUB_OFFLINE`` is set.
    """
    with _LOCK, quiet():
        from huggingface_hub import constants

        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before

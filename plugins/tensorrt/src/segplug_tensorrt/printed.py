"""What TensorRT's libraries print by themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["prints_on_stderr"]

_STDOUT, _STDERR = 1, 2


@contextmanager
def prints_on_stderr() -> Iterator[None]:
    """Send what is written to the process's stdout to stderr: stdout is for the command's own document.

    The compiler inside TensorRT-RTX writes warnings there, past the logger.
    """
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    try:
        os.dup2(_STDERR, _STDOUT)
        yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)

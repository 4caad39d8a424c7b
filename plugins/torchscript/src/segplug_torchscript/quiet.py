"""PyTorch's chatter kept off the terminal, and its errors in one line."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

__all__ = ["quiet", "reason"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Prints, warnings and logs of tracers, compilers and loaders go nowhere; errors still raise."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def reason(error: BaseException) -> str:
    """What went wrong, without the traceback of code that a TorchScript error carries before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    interpreted = "TorchScript" in lines[0] or "Traceback" in str(error)
    return (lines[-1] if interpreted else lines[0])[:300]

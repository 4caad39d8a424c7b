"""Turn what a framework or a user's own code raises into an error of one line."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from segplug.errors import SegplugError, is_interrupt

__all__ = ["INSTALL_IT", "explained", "one_line"]

INSTALL_IT = "install it, or set PYTHONPATH so that Python finds it"
"""What to do about a module that a config needs."""


@contextlib.contextmanager
def explained(kind: type[SegplugError], what: str) -> Iterator[None]:
    """Turn what mmcv, mmseg or a user's own class raises, SystemExit included, into an error of one line.

    Args:
        kind: The error to raise, with the original one as its cause.
        what: What could not be done, with the name of the config.
    """
    try:
        yield
    except SegplugError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        hint = INSTALL_IT if isinstance(error, ImportError) else None
        raise kind(f"{what}: {one_line(error)}", hint=hint) from error


def one_line(error: BaseException) -> str:
    """The message of an exception on one line, with its type.

    mmcv replaces some errors by ones without a message: the message of the error behind it is used then.
    """
    if not isinstance(error, AssertionError):
        error = _with_message(error)
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        text = text.strip("'\"")
    if isinstance(error, AssertionError):
        text = f"{text} {_failed_assertion(error)}".strip()
    if isinstance(error, SegplugError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _with_message(error: BaseException) -> BaseException:
    """The first error with a message, of this one and those behind it; else this one."""
    found: BaseException | None = error
    while found is not None and not str(found).strip():
        found = found.__cause__ or found.__context__
    return found or error


def _failed_assertion(error: BaseException) -> str:
    """The source line of an assertion without a message; mmcv wraps errors once for each nested module."""
    while error.__context__ is not None:
        error = error.__context__
    frames = traceback.extract_tb(error.__traceback__)
    if str(error) or not frames or not frames[-1].line:
        return ""
    return frames[-1].line

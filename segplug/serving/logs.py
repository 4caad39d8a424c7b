"""Log records as text that is safe to print: they quote requests, and files of strangers."""

from __future__ import annotations

import logging
from typing import TextIO

from segplug.text import printable, printable_line

__all__ = ["log_handler"]


class _Formatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable_line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_handler(stream: TextIO, pattern: str = "%(message)s") -> logging.Handler:
    """A handler that writes records to a stream, in one of logging's patterns."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter(pattern))
    return handler

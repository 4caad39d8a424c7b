"""Print plain lines, and JSON: with :mod:`segplug.cli.output`, the only modules that print.

Listings and errors import this module: it imports nothing that they do not need.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import click

from segplug.text import encodable, printable, printable_line

__all__ = ["only_documents", "print_document", "print_line", "print_text"]

_documents: TextIO | None = None
"""Where documents go while :func:`only_documents` keeps stdout for them; ``None``: ``sys.stdout``."""


@contextlib.contextmanager
def only_documents(wanted: bool) -> Iterator[None]:
    """Keep stdout for documents while the block runs, if ``wanted``.

    What a user's own network, transform or data set prints goes to stderr then, and so does what a logger
    writes that takes ``sys.stdout`` meanwhile.
    """
    global _documents
    if not wanted:
        yield
        return
    before, _documents = _documents, _documents or sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _documents = before


def print_line(line: str, *, to_stderr: bool = False) -> None:
    """Print one line, whatever it quotes."""
    click.echo(printable_line(line), err=to_stderr)


def print_text(text: str, *, to_stderr: bool = False) -> None:
    """Print several lines, whatever they quote."""
    click.echo(printable(text), err=to_stderr)


def print_document(data: Any, *, indent: int | None = None) -> None:
    r"""Print JSON on stdout. NaN and infinities become null, lone surrogates escapes like ``\xff``."""
    import json

    click.echo(json.dumps(_plain(data), indent=indent, allow_nan=False), file=_documents)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {encodable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

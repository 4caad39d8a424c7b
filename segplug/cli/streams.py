"""Stdout and stderr that no run fails at: any text can be written, and a full disk is reported at the end."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Streams"]


class Streams:
    r"""The process's stdout and stderr, put in place by the constructor.

    Characters that the terminal's encoding lacks are written as escapes like ``\xe9``. What cannot be written
    is dropped: work that takes hours does not fail because a log is full. :meth:`close` then says so. A
    stream that was closed before the process began is like the null device.
    """

    def __init__(self) -> None:
        _open_closed_descriptors()
        self._stdout, sys.stdout = _guarded(sys.stdout, 1)
        self._stderr, sys.stderr = _guarded(sys.stderr, 2)

    def close(self, code: int) -> int:
        """Write what is buffered; the exit code, which is 1 for ``code`` 0 if anything was lost.

        Says on stderr why stdout could not be written, unless its reader has ended (``| head``).
        """
        sys.stdout.flush()
        lost = self._stdout.failure if self._stdout else None
        if lost is not None and not isinstance(lost, BrokenPipeError):
            kind = "warning" if code else "error"  # what failed before has its own line
            sys.stderr.write(f"{kind}: stdout cannot be written: {lost.strerror or lost}\n")
        sys.stderr.flush()
        lost = lost or (self._stderr.failure if self._stderr else None)
        return code or (1 if lost else 0)


class _Guard(io.RawIOBase):
    """Writes to another raw stream until that fails; keeps the failure, and drops the rest."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self.failure: OSError | None = None

    @property
    def name(self) -> Any:
        return getattr(self._raw, "name", None)

    def write(self, data: Buffer, /) -> int | None:
        if self.failure is None:
            try:
                return self._raw.write(data)
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()


def _guarded(stream: TextIO | None, descriptor: int) -> tuple[_Guard | None, TextIO]:
    """A guarded stream in place of the process's own; another's stand-in stays as it is."""
    if stream is None:  # it was closed
        return None, open(descriptor, "w", encoding="utf-8", closefd=False)
    if not isinstance(stream, io.TextIOWrapper):
        return None, stream
    stream.flush()
    guard = _Guard(cast(io.RawIOBase, getattr(stream.buffer, "raw", stream.buffer)))
    return guard, io.TextIOWrapper(
        # `python -u` and PYTHONUNBUFFERED, as in containers: what is printed before a crash is not lost.
        guard if stream.write_through else io.BufferedWriter(guard),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_closed_descriptors() -> None:
    """Else the next file that is opened gets the number, and what a library prints goes into that file."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is taken: this one. Child processes get it, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)

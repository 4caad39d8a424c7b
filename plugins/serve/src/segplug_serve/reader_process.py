"""One reader process, as the server sees it. All methods block."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from segplug.errors import EngineError
from segplug_serve.frames import read_exactly, read_header, write_frame
from segplug_serve.reader import SMALL

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.serving.requests import Limits

__all__ = ["Decoded", "ReaderProcess", "Refusal"]

# The same modules as here, whatever lies in the working folder.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from segplug_serve.reader import main; main()"

_PIPE_BYTES = 1 << 20
"""The size of a pipe, where it can be chosen: with the usual 64 KiB an image takes twice as long."""


@dataclass(frozen=True)
class Refusal:
    """Why a reader does not decode an image."""

    status: int
    reason: str
    log: str = ""
    """The traceback of an error of ours."""


@dataclass(frozen=True)
class Decoded:
    """A large image that a reader has decoded and not sent yet."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    masked: bool

    @property
    def size(self) -> int:
        """Bytes of the image and its mask."""
        values = math.prod(self.shape)
        return values * (self.dtype.itemsize + self.masked)


class ReaderProcess:
    """A process that runs :mod:`segplug_serve.reader`.

    Args:
        settings: Its first message.

    Raises:
        EngineError: it cannot be started.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        command = [sys.executable, "-c", _PROGRAM, *filter(None, sys.path)]
        try:
            self._process = subprocess.Popen(
                command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise EngineError(f"a reader process cannot be started: {error}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin.fileno(), self._process.stdout.fileno()
        for pipe in (self._requests, self._replies):
            _widen(pipe)
        try:
            write_frame(self._requests, dict(settings))
            failure = read_header(self._replies).get("failure")
        except (OSError, EOFError, ValueError):
            self.kill()
            failure = f"it ended with {self.wait()}"
        if failure:
            raise EngineError(f"a reader process cannot be started: {failure}")

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def ask(
        self, body: bytes | bytearray, content_type: str, limits: Limits
    ) -> npt.NDArray[Any] | Decoded | Refusal:
        """Let it decode the image of a request.

        Returns:
            A small image itself. For a large one, what :meth:`receive` takes when there is room for it.

        Raises:
            OSError: the process has ended; or :class:`EOFError`.
            ValueError: its reply is none, or more than the limits allow.
        """
        write_frame(self._requests, {"type": content_type, "size": len(body)}, body)
        header = read_header(self._replies)
        if header["status"] != 200:
            return Refusal(header["status"], header.get("reason", ""), header.get("log", ""))
        height, width, channels = map(int, header["shape"])
        decoded = Decoded((height, width, channels), np.dtype(header["dtype"]), bool(header["masked"]))
        # Whoever gets hold of the process through a decoder can write anything.
        if decoded.dtype.kind not in "uif" or min(decoded.shape) < 1 or decoded.size > 2 * limits.decoded:
            raise ValueError("a reader has sent something that is no image")
        return self._pixels(decoded) if decoded.size <= SMALL else decoded

    def receive(self, decoded: Decoded) -> npt.NDArray[Any]:
        """Receive the image; raises :class:`OSError` or :class:`EOFError` if the process has ended."""
        write_frame(self._requests, {"send": True})
        return self._pixels(decoded)

    def drop(self) -> None:
        """Tell it that nobody wants the image any more; raises :class:`OSError` if the process has ended."""
        write_frame(self._requests, {"send": False})

    def _pixels(self, decoded: Decoded) -> npt.NDArray[Any]:
        image = np.empty(decoded.shape, decoded.dtype)
        read_exactly(self._replies, image)
        if not decoded.masked:
            return image
        mask = np.empty(decoded.shape, np.bool_)
        read_exactly(self._replies, mask)
        return np.ma.MaskedArray(image, mask)

    def kill(self) -> None:
        """End it at once, from any thread."""
        with suppress(OSError):
            self._process.kill()

    def wait(self) -> int:
        """Wait until it has ended; returns its exit code, negative for a signal. Its pipes are closed."""
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    @staticmethod
    def took_too_long(code: int) -> bool:
        """Whether an exit code says that the process took more processor time than it may."""
        return code == -getattr(signal, "SIGXCPU", 0) != 0


def _widen(pipe: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    with suppress(OSError, AttributeError):  # Linux only; and not beyond what the system allows
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

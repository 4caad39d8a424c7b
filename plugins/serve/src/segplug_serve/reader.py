"""The program of a reader process: decodes the images that a server sends it, one after another.

Decoding happens in a process of its own because it can be ended there: decoders are native code, and a file
that a stranger made may keep one busy for minutes, take all memory, or crash it. The process limits its own
memory and its processor time for one image, and ends when the server ends, whatever it does at that moment.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from segplug.errors import DatasetError, SegplugError
from segplug.model import ModelMeta
from segplug.serving.requests import Limits, RefusedRequestError, Request, read_image
from segplug_serve.forms import FORM, file_in_form
from segplug_serve.frames import read_exactly, read_header, write_all, write_frame

__all__ = ["SMALL", "main"]

SMALL = 1 << 20
"""An image of so many bytes is sent at once; the server asks for a larger one when it has room for it."""

_Message = tuple[dict[str, Any], bytearray]


@dataclass(frozen=True)
class _Settings:
    limits: Limits
    meta: ModelMeta
    memory: int
    """Bytes that the process may take in addition to what it has at the start."""
    seconds: int
    """Processor time for one image."""


def main() -> None:
    """Read messages from the standard input until the server closes it; reply on the standard output."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes of the service: the server decides
        signal.signal(number, signal.SIG_IGN)
    replies = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no reply
    messages: SimpleQueue[_Message] = SimpleQueue()
    threading.Thread(target=_receive, args=(0, messages), daemon=True).start()
    header, _ = messages.get()
    settings = _Settings(
        Limits(**header["limits"]), ModelMeta.from_dict(header["meta"]), header["memory"], header["seconds"]
    )
    try:
        _prepare(settings)
    except SegplugError as error:
        write_frame(replies, {"failure": error.message})
        return
    write_frame(replies, {"status": 200})
    while True:
        _answer(messages, replies, settings)


def _receive(requests: int, messages: SimpleQueue[_Message]) -> None:
    """Receive messages in a thread of its own, which notices the server's end while an image is decoded."""
    try:
        while True:
            header = read_header(requests)
            messages.put((header, read_exactly(requests, bytearray(header.get("size", 0)))))
            del header
    except BaseException:
        os._exit(0)


def _prepare(settings: _Settings) -> None:
    """Import what decoding needs, before memory is limited: libraries reserve some when they are loaded."""
    from segplug.runtime.libraries import opencv
    from segplug.runtime.reading import decode_image

    cv2 = opencv()
    cv2.setNumThreads(1)
    pixel = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
    for library in {"opencv", settings.meta.decoding.library}:
        try:
            decode_image(pixel, "of one pixel", type(settings.meta.decoding)(library=library))
        except DatasetError:  # this library reads TIFF or JPEG only
            continue
    _limit_memory(settings.memory)


def _limit_memory(more: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        now = pages * resource.getpagesize()
    except (OSError, ValueError):
        now = 2 << 30  # what the libraries reserve, about
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = now + more if hard == resource.RLIM_INFINITY else min(now + more, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _limit_time(seconds: int) -> None:
    """Let the system end the process if the next image takes longer."""
    try:
        import resource
    except ImportError:
        return
    used = time.process_time()
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = int(used) + seconds + 1
    resource.setrlimit(
        resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )


def _answer(messages: SimpleQueue[_Message], replies: int, settings: _Settings) -> None:
    header, body = messages.get()
    _limit_time(settings.seconds)
    try:
        image = _read(bytes(body), header["type"], settings)
    except RefusedRequestError as error:
        write_frame(replies, {"status": error.status, "reason": error.message})
        return
    except MemoryError:
        reason = "decoding the image takes more memory than the server has for it"
        write_frame(replies, {"status": 413, "reason": reason})
        return
    except Exception:
        write_frame(replies, {"status": 500, "log": traceback.format_exc()})
        return
    del body
    _send(image, messages, replies)


def _read(body: bytes, content_type: str, settings: _Settings) -> Any:
    if content_type.partition(";")[0].strip().lower() == FORM:
        # The form is read here, so the image comes without a content type.
        body, content_type = file_in_form(body, content_type), ""
    return read_image(Request(body, content_type), settings.limits, settings.meta)


def _send(image: Any, messages: SimpleQueue[_Message], replies: int) -> None:
    masked = isinstance(image, np.ma.MaskedArray)
    pixels = np.ascontiguousarray(np.ma.getdata(image))
    write_frame(
        replies,
        {"status": 200, "shape": list(pixels.shape), "dtype": pixels.dtype.str, "masked": masked},
    )
    size = pixels.nbytes + (pixels.size if masked else 0)
    if size > SMALL and not messages.get()[0]["send"]:
        return
    write_all(replies, pixels)
    if masked:
        write_all(replies, np.ascontiguousarray(np.ma.getmaskarray(image)))


if __name__ == "__main__":
    sys.exit("this program is for a server: segplug serve")

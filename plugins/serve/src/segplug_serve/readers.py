"""The reader processes of a server, which decode images and can be ended while they do."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from segplug.serving.answers import Answer, refusal
from segplug_serve.reader_process import Decoded, ReaderProcess, Refusal

if TYPE_CHECKING:
    import numpy.typing as npt

    from segplug.model import ModelMeta
    from segplug.serving.requests import Limits
    from segplug_serve.memory import Pool
    from segplug_serve.metrics import Metrics

__all__ = ["BYTES_OF_ANSWER", "Readers", "memory_of_reader"]

T = TypeVar("T")

_log = logging.getLogger("segplug.serve")

_CPU_SECONDS = 10
"""Processor time for one image, at most. The largest images of usual formats take about 2 s."""
_SHARE_OF_TIMEOUT = 3
"""A third of a request's time: other requests that wait meanwhile need some, too."""
_GRACE_SECONDS = 1.0
"""A decoding that nobody waits for may go on so long: to start another process costs as much."""
_RETRY_SECONDS = 5.0
"""Between two attempts to start a process."""
_TRIES = 2
"""How often an image is decoded if the process ends: something else may have ended it."""
BYTES_OF_ANSWER = 8
"""Bytes for a pixel's label and probability, which a job holds in addition to its image."""


def memory_of_reader(limits: Limits) -> int:
    """Bytes that a reader process may take for one request: copies of its body and of its image.

    Measured for images of the most pixels: 22 for each pixel, with Pillow and WebP; 2.5 times the image, of a
    TIFF in planes.
    """
    return (256 << 20) + 4 * limits.bytes + max(24 * limits.pixels, 3 * limits.decoded)


@dataclass(eq=False)
class _Pending:
    """A request that waits for its image."""

    body: bytes | bytearray
    content_type: str
    image: asyncio.Future[npt.NDArray[Any] | Answer]
    tries: int = 0


@dataclass(eq=False)
class _Slot:
    """A place for one process."""

    process: ReaderProcess | None = None
    busy: bool = False
    """Whether the process decodes an image."""


class Readers:
    """A number of reader processes. One that ends, or is ended, is replaced.

    For one event loop: :meth:`start`, then any number of :meth:`read`, then :meth:`stop`.

    Args:
        count: Processes.
        timeout: Seconds that a request may take.
        limits: The limits of one image.
        meta: The model's metadata, which says how images are decoded.
        images: The memory of decoded images.
        metrics: Counts the processes that are replaced.
    """

    def __init__(
        self,
        count: int,
        *,
        timeout: float,
        limits: Limits,
        meta: ModelMeta,
        images: Pool,
        metrics: Metrics,
    ) -> None:
        self._limits, self._images, self._metrics = limits, images, metrics
        self._cpu_seconds = math.ceil(min(_CPU_SECONDS, timeout / _SHARE_OF_TIMEOUT))
        self._settings = {
            "limits": dataclasses.asdict(limits),
            "meta": meta.to_dict(),
            "memory": memory_of_reader(limits),
            "seconds": self._cpu_seconds,
        }
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="segplug-reader")
        self._slots = [_Slot() for _ in range(count)]
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: dict[_Pending, None] = {}
        self._arrived = asyncio.Event()
        self._last_progress = math.inf
        self.failure = ""
        """Why a process could not be started the last time; empty: it could."""

    @property
    def waiting(self) -> int:
        """The number of requests that no process has begun to decode."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """The number of processes."""
        return sum(slot.process is not None for slot in self._slots)

    @property
    def busy(self) -> int:
        """The number of processes that decode an image."""
        return sum(slot.busy for slot in self._slots)

    @property
    def blocked_seconds(self) -> float:
        """For how long no process has been free, and none has decoded an image."""
        if any(slot.process is not None and not slot.busy for slot in self._slots):
            return 0.0
        return max(0.0, asyncio.get_running_loop().time() - self._last_progress)

    async def start(self) -> None:
        """Start all processes; raises :class:`EngineError` if one cannot be started."""
        try:
            await asyncio.gather(*map(self._start, self._slots))
        except BaseException:
            self.kill()
            raise
        self._note_progress()
        self._tasks = [asyncio.create_task(self._keep_running(slot)) for slot in self._slots]

    async def stop(self) -> None:
        """End all processes at once."""
        for task in self._tasks:
            task.cancel()
        self.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.kill()  # one may have been started meanwhile
        self._threads.shutdown(wait=False, cancel_futures=True)

    def kill(self) -> None:
        """End all processes at once, from any thread."""
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()

    async def read(self, body: bytes | bytearray, content_type: str) -> npt.NDArray[Any] | Answer:
        """Decode the image of a request, or refuse it.

        If this call is cancelled, a request that waits is dropped, and the process that decodes its image is
        ended, unless it is done at once.

        Returns:
            What :func:`segplug.serving.requests.read_image` returns. Its memory counts until it is dropped.
        """
        pending = _Pending(body, content_type, asyncio.get_running_loop().create_future())
        self._waiting[pending] = None
        self._arrived.set()
        try:
            return await pending.image
        finally:
            self._waiting.pop(pending, None)

    async def _start(self, slot: _Slot) -> None:
        slot.process = await self._in_thread(ReaderProcess, self._settings)

    async def _keep_running(self, slot: _Slot) -> None:
        while True:
            while slot.process is not None:
                await self._serve(slot, slot.process)
            try:
                await self._start(slot)
                self.failure = ""
                self._metrics.reader_restarts.inc()
            except Exception as error:
                self.failure = str(error)
                _log.error("%s", error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _serve(self, slot: _Slot, process: ReaderProcess) -> None:
        """Decode the image that has waited longest."""
        pending = await self._next()
        if process.has_ended:  # while it had nothing to do
            slot.process = None
            self._put_back(pending)
            await self._in_thread(process.wait)
            return
        slot.busy = True
        result: npt.NDArray[Any] | Answer | None
        try:
            result = await self._decode(slot, process, pending)
        except (OSError, EOFError, ValueError, KeyError, TypeError):  # it has ended, or writes nonsense
            slot.process = None
            process.kill()
            result = self._after_end(pending, await self._in_thread(process.wait))
        finally:
            slot.busy = False
        if not pending.image.done():
            if result is None:
                self._put_back(pending)
            else:
                pending.image.set_result(result)

    def _put_back(self, pending: _Pending) -> None:
        self._waiting = {pending: None, **self._waiting}
        self._arrived.set()

    async def _next(self) -> _Pending:
        while True:
            while self._waiting:
                pending = next(iter(self._waiting))
                del self._waiting[pending]
                if not pending.image.done():
                    return pending
            self._arrived.clear()
            await self._arrived.wait()
            self._note_progress()  # this process has been free until now

    async def _decode(
        self, slot: _Slot, process: ReaderProcess, pending: _Pending
    ) -> npt.NDArray[Any] | Answer:
        pending.tries += 1
        reply = await self._while_wanted(
            pending, process, process.ask, pending.body, pending.content_type, self._limits
        )
        slot.busy = False
        self._note_progress()
        if isinstance(reply, Refusal):
            return _refused(reply)
        if not isinstance(reply, Decoded):
            cost = _cost(reply.nbytes, reply.shape)
            self._images.add(cost)
            return self._counted(reply, cost)
        cost = _cost(reply.size, reply.shape)
        if not await self._find_room(pending, cost):
            await self._in_thread(process.drop)
            return _abandoned()
        try:
            image = await self._while_wanted(pending, process, process.receive, reply)
        except BaseException:
            self._images.give_back(cost)
            raise
        return self._counted(image, cost)

    def _counted(self, image: npt.NDArray[Any], cost: int) -> npt.NDArray[Any]:
        """The image, which gives back what it costs when it is dropped."""
        self._images.give_back_with(image if image.base is None else image.base, cost)
        return image

    async def _find_room(self, pending: _Pending, cost: int) -> bool:
        """Wait for room for an image; returns whether somebody still wants it."""
        room = asyncio.ensure_future(self._images.take(cost))
        try:
            await _first(room, pending.image)
        finally:
            if not room.done():
                room.cancel()
        return room.done() and not room.cancelled()

    async def _while_wanted(
        self, pending: _Pending, process: ReaderProcess, call: Callable[..., T], *arguments: Any
    ) -> T:
        """Call in a thread; end the process if nobody waits for the image any more."""
        work = self._in_thread(call, *arguments)
        await _first(work, pending.image)
        if not work.done():
            await asyncio.wait({work}, timeout=_GRACE_SECONDS)
        if not work.done():
            process.kill()
        return await work

    def _after_end(self, pending: _Pending, code: int) -> Answer | None:
        """The answer to a request whose process has ended; ``None``: it is decoded again."""
        if ReaderProcess.took_too_long(code):
            reason = f"decoding the image takes more than {self._cpu_seconds} s of processor time"
            return refusal(413, reason)
        if pending.image.done():
            return _abandoned()
        if pending.tries < _TRIES:
            return None
        _log.warning("a reader process ended with %d while it decoded an image", code)
        return refusal(400, "the image in the request ends the program that decodes it")

    def _in_thread(self, call: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    def _note_progress(self) -> None:
        self._last_progress = asyncio.get_running_loop().time()


async def _first(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _cost(size: int, shape: tuple[int, ...]) -> int:
    return size + shape[0] * shape[1] * BYTES_OF_ANSWER


def _refused(reply: Refusal) -> Answer:
    if not reply.log:
        return refusal(reply.status, reply.reason)
    _log.error("reading a request failed:")
    for line in reply.log.splitlines():  # of a traceback
        _log.error("  %s", line)
    return refusal(500, "reading a request failed; the server's log has the reason")


def _abandoned() -> Answer:
    return refusal(499, "nobody waits for the answer")

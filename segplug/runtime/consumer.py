"""The thread that turns the engine's answers into labels and feeds the sinks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.runtime.journal import Entry, Journal
from segplug.runtime.postprocess import Postprocessor
from segplug.sink import ImageResult, RunContext, Sink

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.progress import Progress
    from segplug.runtime.preprocess import Geometry
    from segplug.runtime.reader import Item

__all__ = ["Consumer", "EngineOutput"]

_WAITING = 2
"""Images that may wait at least. More would only hold memory: the consumer is behind or it is not."""

_PATIENCE = 0.1
"""Seconds between looks at whether the other side still lives."""


@dataclass(frozen=True)
class EngineOutput:
    """What the engine gave for one image, and what the sinks need of the image."""

    index: int
    name: str
    geometry: Geometry
    image: npt.NDArray[np.uint8] | None
    mask: npt.NDArray[np.uint8] | None
    files: list[list[int] | None]
    values: npt.NDArray[Any]
    """Logits ``(C, H, W)`` or labels ``(H, W)``."""

    @classmethod
    def of(cls, item: Item, output: npt.NDArray[Any]) -> EngineOutput:
        """The answer to ``item``, whose network input can go."""
        return cls(item.index, item.name, item.geometry, item.image, item.mask, item.files, output)


class Consumer:
    """Takes answers from the engine's thread and works on them in a thread of its own.

    An exception in the thread ends it and comes out of the next call to :meth:`put` or
    :meth:`finish`.

    Args:
        sinks: Fed in order; already open.
        context: The run they belong to.
        journal: Gets an entry when all sinks are done with an image; ``None``: none is kept.
        progress: Advanced by one for each image.
        waiting: Images that may wait: one engine batch.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        context: RunContext,
        journal: Journal | None,
        progress: Progress,
        *,
        waiting: int,
    ) -> None:
        self._sinks = sinks
        self._journal = journal
        self._progress = progress
        self._postprocess = Postprocessor(context.meta, context.reporter)
        self._queue: queue.Queue[EngineOutput | None] = queue.Queue(max(waiting, _WAITING))
        self._failure: BaseException | None = None
        self._abandoned = context.abandoned
        self._thread = threading.Thread(target=self._work, name="segplug-consumer", daemon=True)
        self._thread.start()

    def put(self, output: EngineOutput) -> None:
        """Hand over one answer; waits while too many are waiting already."""
        self._offer(output)

    def finish(self) -> None:
        """Wait until everything handed over is consumed."""
        self._offer(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Stop after the image that is being consumed; what waits is dropped (and not in the journal).

        Does nothing after :meth:`finish`.
        """
        self._abandoned.set()
        self._thread.join()

    def _offer(self, output: EngineOutput | None) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                return self._queue.put(output, timeout=_PATIENCE)
            except queue.Full:
                continue

    def _work(self) -> None:
        try:
            while not self._abandoned.is_set():
                try:
                    output = self._queue.get(timeout=_PATIENCE)
                except queue.Empty:
                    continue
                if output is None:
                    return
                self._consume(output)
        except BaseException as error:
            self._failure = error

    def _consume(self, output: EngineOutput) -> None:
        labels = self._postprocess(output.values, output.geometry)
        result = ImageResult(output.index, output.name, labels, output.image, output.mask)
        notes = {sink.key: sink.consume(result) for sink in self._sinks}
        if self._journal is not None:
            kept = {key: note for key, note in notes.items() if note}
            self._journal.append(output.index, Entry(kept, output.files))
        self._progress.advance()

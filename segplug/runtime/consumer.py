"""The thread that turns the engine's outputs into labels and passes them to the sinks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segplug.runtime.journal import Entry, Journal
from segplug.runtime.postprocess import NetworkOutput, Postprocessor, mark_ignored, mark_unknown
from segplug.scores import Nonfinite
from segplug.sink import ImageResult, RunContext, Sink

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from segplug.progress import Progress
    from segplug.runtime.image_reader import Item

__all__ = ["Consumer", "EngineOutput"]

_POLL_INTERVAL = 0.1
"""Time between checks whether the other thread has ended. Seconds."""


@dataclass(frozen=True)
class EngineOutput:
    """The engine's output for one image, and what the sinks need of the image."""

    index: int
    name: str
    image: npt.NDArray[Any] | None
    mask: npt.NDArray[Any] | None
    nodata: npt.NDArray[np.bool_] | None
    files: list[list[int] | None]
    output: NetworkOutput

    @classmethod
    def of(cls, item: Item, output: NetworkOutput) -> EngineOutput:
        """The output for ``item``, without its network input, which is not needed any more."""
        return cls(item.index, item.name, item.image, item.mask, item.nodata, item.files, output)


class Consumer:
    """Takes outputs from the engine's thread and processes them in a thread of its own.

    An exception in the thread ends it, and the next call to :meth:`put` or :meth:`finish` raises it.

    Args:
        sinks: The sinks, in order; already open.
        context: The run they belong to.
        journal: Gets an entry when all sinks are done with an image; ``None``: there is no journal.
        progress: Advanced by one for each image.
        unknown_below: Labels that are less probable become the data set's ignored label.
        allow_nonfinite: Give pixels whose scores are not finite the data set's ignored label, and count them.
        waiting: How many images may wait.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        context: RunContext,
        journal: Journal | None,
        progress: Progress,
        *,
        waiting: int,
        unknown_below: float | None = None,
        allow_nonfinite: bool = False,
    ) -> None:
        self._sinks = sinks
        self._journal = journal
        self._progress = progress
        confidence = unknown_below is not None or any(sink.needs_confidence for sink in sinks)
        self._postprocess = Postprocessor(
            context.meta, context.reporter, confidence=confidence, allow_nonfinite=allow_nonfinite
        )
        self._unknown_below = unknown_below
        self._pixels = self._unknown = 0
        self.nonfinite: list[Nonfinite] = []
        """The images with pixels whose scores are not finite."""
        self._context = context
        self._queue: queue.Queue[EngineOutput | None] = queue.Queue(waiting)
        self._failure: BaseException | None = None
        self._abandoned = context.abandoned
        self._thread = threading.Thread(target=self._work, name="segplug-consumer", daemon=True)
        self._thread.start()

    @property
    def unknown_share(self) -> float | None:
        """The share of pixels that became unknown, 0 to 1; ``None``: not asked for, or no image came."""
        return self._unknown / self._pixels if self._pixels else None

    def put(self, output: EngineOutput) -> None:
        """Hand over one output; blocks while too many are waiting."""
        self._offer(output)

    def finish(self) -> None:
        """Wait until every output is consumed."""
        self._offer(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Stop after the image that is being consumed; the others are dropped, and are not in the journal.

        Does nothing after :meth:`finish`.
        """
        self._abandoned.set()
        self._thread.join()

    def _offer(self, output: EngineOutput | None) -> None:
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                return self._queue.put(output, timeout=_POLL_INTERVAL)
            except queue.Full:
                continue

    def _work(self) -> None:
        try:
            while not self._abandoned.is_set():
                try:
                    output = self._queue.get(timeout=_POLL_INTERVAL)
                except queue.Empty:
                    continue
                if output is None:
                    return
                self._consume(output)
        except BaseException as error:
            self._failure = error

    def _consume(self, output: EngineOutput) -> None:
        prediction = self._postprocess(output.output, output.name)
        labels, mask, undefined = prediction.labels, output.mask, 0
        if self._unknown_below is not None:
            labels = mark_unknown(prediction, self._unknown_below, self._context.ignored)
            self._pixels += labels.size
            self._unknown += int((labels == self._context.ignored).sum())
        if prediction.undefined is not None:
            undefined = int(prediction.undefined.sum())
            self.nonfinite.append(Nonfinite(output.name, undefined))
            labels = mark_ignored(labels, prediction.undefined, self._context.ignored)
        if output.nodata is not None:
            labels = mark_ignored(labels, output.nodata, self._context.ignored)
            mask = None if mask is None else mark_ignored(mask, output.nodata, self._context.ignored)
        result = ImageResult(output.index, output.name, labels, output.image, mask, prediction.confidence)
        notes = {sink.key: sink.consume(result) for sink in self._sinks}
        if self._journal is not None:
            kept = {key: note for key, note in notes.items() if note}
            self._journal.append(output.index, Entry(kept, output.files, undefined))
        self._progress.advance()

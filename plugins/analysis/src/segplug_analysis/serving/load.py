"""Put a server under load: clients send at the same time, each one request after the other."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from segplug.errors import EngineError
from segplug.serving.client import Client, Reply
from segplug_analysis.serving.pictures import Picture, ask_for_mask

if TYPE_CHECKING:
    from segplug.progress import Progress, Reporter
    from segplug_analysis.serving.masks import Masks

__all__ = ["NO_ANSWER", "PARTS", "Exchange", "Level", "Plan", "measure"]

NO_ANSWER = 0
"""The status of a request without any answer."""

PARTS = ("decode", "model", "process", "encode")
"""The parts of a request's time that a server of segplug reports, in this order."""

_MAX_UNANSWERED = 3
"""A level ends after this many requests without an answer: each may have waited for the whole timeout."""

_BATCH = re.compile(r'\bbatch;desc="?(\d+)')


@dataclass(frozen=True)
class Plan:
    """Which server is measured, and with how many requests."""

    url: str
    token: str | None
    timeout: float
    """Seconds."""
    concurrency: tuple[int, ...]
    requests: int
    """Timed requests of each level."""
    warmup: int
    """Untimed requests of each client."""

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client of the server; its connections are closed at the end of the context."""
        client = Client(self.url, token=self.token, timeout=self.timeout)
        try:
            yield client
        finally:
            client.close()


@dataclass(frozen=True)
class Exchange:
    """One request and its answer."""

    image: int
    status: int
    """HTTP status, or :data:`NO_ANSWER`."""
    seconds: float = 0.0
    """Measured by the client, from the first byte sent to the last received."""
    reason: str = ""
    """Why there is no mask."""
    mask: int | None = None
    """The position of the mask among the image's masks; ``None``: the answer has none."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Seconds inside the server; empty where the server does not report them."""
    batch: int | None = None
    """How many images the server ran together."""

    @property
    def overhead(self) -> float | None:
        """Seconds outside :data:`PARTS`: HTTP, queues, waiting for a batch."""
        return self.seconds - sum(self.parts.values()) if self.parts else None


@dataclass(frozen=True)
class Level:
    """All requests with one number of clients."""

    concurrency: int
    seconds: float
    """From the first timed request to the end of the last."""
    timed: tuple[Exchange, ...]
    untimed: tuple[Exchange, ...]
    """The warm-up requests; their masks are checked as well."""
    stopped_early: bool
    """Whether it ended early because requests had no answer."""

    @property
    def all(self) -> tuple[Exchange, ...]:
        """Every request, those of the warm-up first."""
        return self.untimed + self.timed


def measure(plan: Plan, pictures: Sequence[Picture], masks: Masks, reporter: Reporter) -> tuple[Level, ...]:
    """Put the server under load, one level after the other. The levels have the failed requests as well."""
    total = sum(plan.requests + plan.warmup * clients for clients in plan.concurrency)
    with reporter.progress("requests", total) as progress:
        return tuple(
            _LevelRun(plan, pictures, masks, clients, progress).run() for clients in plan.concurrency
        )


class _LevelRun:
    """Runs one level."""

    def __init__(
        self, plan: Plan, pictures: Sequence[Picture], masks: Masks, clients: int, progress: Progress
    ) -> None:
        self._plan, self._pictures, self._masks, self._clients = plan, pictures, masks, clients
        self._progress = progress
        self._lock = threading.Lock()
        self._left = plan.requests
        self._unanswered = 0
        self._stopped = False
        self._started = 0.0
        self._start = threading.Barrier(clients, action=self._set_start_time)
        self._timed: list[Exchange] = []
        self._untimed: list[Exchange] = []

    def run(self) -> Level:
        with (
            self._plan.client() as client,
            ThreadPoolExecutor(self._clients, thread_name_prefix="segplug-client") as pool,
        ):
            work = [pool.submit(self._work, client, number) for number in range(self._clients)]
            try:
                for each in work:
                    each.result()
            finally:  # on Ctrl-C, each client ends after its current request
                self._stopped = True
                self._start.abort()
        return Level(
            concurrency=self._clients,
            seconds=time.perf_counter() - self._started,
            timed=tuple(self._timed),
            untimed=tuple(self._untimed),
            stopped_early=self._unanswered >= _MAX_UNANSWERED,
        )

    def _work(self, client: Client, number: int) -> None:
        """One client: warm up, wait for the others, and send until no request is left."""
        try:
            for index in range(self._plan.warmup):
                if not self._stopped:
                    self._send(client, number + index, self._untimed)
            self._start.wait()
        except threading.BrokenBarrierError:
            return  # another client has failed and raises its error
        except BaseException:
            self._start.abort()
            raise
        while (turn := self._next_turn()) is not None:
            self._send(client, turn, self._timed)

    def _set_start_time(self) -> None:
        self._started = time.perf_counter()

    def _next_turn(self) -> int | None:
        with self._lock:
            if self._stopped or not self._left:
                return None
            self._left -= 1
            return self._left

    def _send(self, client: Client, turn: int, exchanges: list[Exchange]) -> None:
        # Requests at the same time send different images, so that a swapped mask is detected.
        image = turn % len(self._pictures)
        exchange = self._exchange(client, image)
        with self._lock:
            exchanges.append(exchange)
            self._unanswered += exchange.status == NO_ANSWER
            self._stopped |= self._unanswered >= _MAX_UNANSWERED
            self._progress.advance()

    def _exchange(self, client: Client, image: int) -> Exchange:
        try:
            reply = ask_for_mask(client, self._pictures[image])
        except EngineError as error:
            return Exchange(image, NO_ANSWER, reason=str(error))
        if reply.status != 200:
            return Exchange(image, reply.status, reply.seconds, reply.reason)
        try:
            position = self._masks.position(image, reply.body)
        except EngineError as error:
            return Exchange(image, reply.status, reply.seconds, str(error))
        parts, batch = _inside(reply)
        return Exchange(image, reply.status, reply.seconds, mask=position, parts=parts, batch=batch)


def _inside(reply: Reply) -> tuple[Mapping[str, float], int | None]:
    """The parts and the batch size that a server of segplug reports; nothing from other servers' headers."""
    timing = reply.timing()
    if not timing.keys() >= set(PARTS):
        return {}, None
    batch = _BATCH.search(reply.headers.get("server-timing", ""))
    return {part: timing[part] for part in PARTS}, int(batch[1]) if batch else None

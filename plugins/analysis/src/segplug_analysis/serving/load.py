"""Clients that send at the same time, each its next request when the last was answered."""

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

if TYPE_CHECKING:
    from segplug.progress import Progress, Reporter
    from segplug_analysis.serving.masks import Masks
    from segplug_analysis.serving.pictures import Picture

__all__ = ["NO_ANSWER", "PARTS", "Exchange", "Level", "Plan", "measure"]

NO_ANSWER = 0
"""The status of a request that nothing came back for."""

PARTS = ("decode", "model", "process", "encode")
"""What a server of segplug says of its time, in this order."""

_MOST_LOST = 3
"""A level ends when this many requests had no answer: each may have waited for the whole timeout."""

_BATCH = re.compile(r'\bbatch;desc="?(\d+)')


@dataclass(frozen=True)
class Plan:
    """What is asked of which server."""

    url: str
    token: str | None
    timeout: float
    """Seconds."""
    concurrency: tuple[int, ...]
    requests: int
    """Timed ones of each level."""
    warmup: int
    """Untimed ones of each client."""

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Talks to the server; its connections are closed with the context."""
        client = Client(self.url, token=self.token, timeout=self.timeout)
        try:
            yield client
        finally:
            client.close()


@dataclass(frozen=True)
class Exchange:
    """One request and what came back."""

    image: int
    status: int
    """Of HTTP, or :data:`NO_ANSWER`."""
    seconds: float = 0.0
    """At the client, from the first byte sent to the last received."""
    reason: str = ""
    """Why there is no mask."""
    mask: int | None = None
    """Its place among the image's masks; ``None``: there is none."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Seconds inside the server; empty where it does not say."""
    batch: int | None = None
    """Images that the server ran together."""

    @property
    def overhead(self) -> float | None:
        """Seconds that were spent neither on the image nor on its mask: HTTP, queues, waiting for a batch."""
        return self.seconds - sum(self.parts.values()) if self.parts else None


@dataclass(frozen=True)
class Level:
    """All requests of so many clients."""

    concurrency: int
    seconds: float
    """From the first timed request to the end of the last."""
    timed: tuple[Exchange, ...]
    untimed: tuple[Exchange, ...]
    """The warm-up, which is checked like the rest."""
    given_up: bool
    """Whether it ended early, since requests had no answer."""

    @property
    def all(self) -> tuple[Exchange, ...]:
        """Every request, the warm-up's first."""
        return self.untimed + self.timed


def measure(plan: Plan, pictures: Sequence[Picture], masks: Masks, reporter: Reporter) -> tuple[Level, ...]:
    """Put the server under load, one level after the other. What fails is in the levels."""
    total = sum(plan.requests + plan.warmup * clients for clients in plan.concurrency)
    with reporter.progress("requests", total) as progress:
        return tuple(_Run(plan, pictures, masks, clients, progress).go() for clients in plan.concurrency)


class _Run:
    """One level."""

    def __init__(
        self, plan: Plan, pictures: Sequence[Picture], masks: Masks, clients: int, progress: Progress
    ) -> None:
        self._plan, self._pictures, self._masks, self._clients = plan, pictures, masks, clients
        self._progress = progress
        self._lock = threading.Lock()
        self._left = plan.requests
        self._lost = 0
        self._stopped = False
        self._started = 0.0
        self._start = threading.Barrier(clients, action=self._now)
        self._timed: list[Exchange] = []
        self._untimed: list[Exchange] = []

    def go(self) -> Level:
        with (
            self._plan.client() as client,
            ThreadPoolExecutor(self._clients, thread_name_prefix="segplug-client") as pool,
        ):
            work = [pool.submit(self._work, client, number) for number in range(self._clients)]
            try:
                for each in work:
                    each.result()
            finally:  # Ctrl-C: the clients end with the request that is under way
                self._stopped = True
                self._start.abort()
        return Level(
            concurrency=self._clients,
            seconds=time.perf_counter() - self._started,
            timed=tuple(self._timed),
            untimed=tuple(self._untimed),
            given_up=self._lost >= _MOST_LOST,
        )

    def _work(self, client: Client, number: int) -> None:
        """One client: it warms up, waits for the others, and sends while requests are left."""
        try:
            for turn in range(self._plan.warmup):
                if not self._stopped:
                    self._send(client, number + turn, self._untimed)
            self._start.wait()
        except threading.BrokenBarrierError:
            return  # another client has failed, and says why
        except BaseException:
            self._start.abort()
            raise
        while (ticket := self._ticket()) is not None:
            self._send(client, ticket, self._timed)

    def _now(self) -> None:
        self._started = time.perf_counter()

    def _ticket(self) -> int | None:
        with self._lock:
            if self._stopped or not self._left:
                return None
            self._left -= 1
            return self._left

    def _send(self, client: Client, turn: int, kept: list[Exchange]) -> None:
        # Neighbours in time send different images, so that a mask that went to the wrong one is seen.
        image = turn % len(self._pictures)
        found = self._exchange(client, image)
        with self._lock:
            kept.append(found)
            self._lost += found.status == NO_ANSWER
            self._stopped |= self._lost >= _MOST_LOST
            self._progress.advance()

    def _exchange(self, client: Client, image: int) -> Exchange:
        try:
            reply = client.post(self._pictures[image].content)
        except EngineError as error:
            return Exchange(image, NO_ANSWER, reason=str(error))
        if reply.status != 200:
            return Exchange(image, reply.status, reply.seconds, reply.reason)
        try:
            place = self._masks.place(image, reply.body)
        except EngineError as error:
            return Exchange(image, reply.status, reply.seconds, str(error))
        parts, batch = _inside(reply)
        return Exchange(image, reply.status, reply.seconds, mask=place, parts=parts, batch=batch)


def _inside(reply: Reply) -> tuple[Mapping[str, float], int | None]:
    """What a server of segplug says of its time; nothing where another has written the header."""
    said = reply.timing()
    if not said.keys() >= set(PARTS):
        return {}, None
    batch = _BATCH.search(reply.headers.get("server-timing", ""))
    return {part: said[part] for part in PARTS}, int(batch[1]) if batch else None

"""Hostile requests with good ones between them: the good ones are answered right, whatever the others are."""

from __future__ import annotations

import datetime
import os
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from segplug_serve.readers import BYTES_OF_ANSWER, memory_of_reader
from segplug_serve.request_body import memory_of_bodies
from serve_support.hostile_series import MAY_ANSWER, Attack, attacks
from serve_support.models import paced_labels
from serve_support.servers import Running, picture, png

from segplug.serving.requests import Limits

pytestmark = pytest.mark.server

LIMITS = Limits(bytes=8 << 20, pixels=25_000_000, decoded=75_000_000)
"""So that the largest good image of another test and the endless one are within them."""

BYTES_IN_WORK = 60
"""Bytes of a pixel while its image is preprocessed, segmented, painted and encoded, at most."""

SEED = int(os.environ.get("SEGPLUG_SEED") or datetime.date.today().strftime("%Y%m%d"))
"""Another series each day; the variable repeats one."""

HANG = 120.0
"""Seconds after which a request hangs for sure, on any machine."""


def bound(readers: int) -> int:
    """The most memory of the server and its readers beyond what they have at the start (README)."""
    images = 2 * (LIMITS.decoded + BYTES_OF_ANSWER * LIMITS.pixels)
    return (
        memory_of_bodies(LIMITS)
        + images
        + BYTES_IN_WORK * LIMITS.pixels
        + LIMITS.decoded
        + readers * memory_of_reader(LIMITS)
    )


class Memory(threading.Thread):
    """Watches the resident memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._stopped = pid, threading.Event()
        self.first = self.most = self.now()

    def now(self) -> int:
        children = [pid for task in self._tasks() for pid in (task / "children").read_text().split()]
        return sum(_resident(pid) for pid in (str(self._pid), *children))

    def run(self) -> None:
        while not self._stopped.wait(0.05):
            self.most = max(self.most, self.now())

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _tasks(self) -> list[Path]:
        try:
            return [
                task for task in Path(f"/proc/{self._pid}/task").iterdir() if (task / "children").exists()
            ]
        except OSError:
            return []


def _resident(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def survives(server: Running, hostile: int, good: int, seed: int) -> None:
    """Send them, and check all that a server promises."""
    one_at_a_time = threading.Lock()
    images = [picture(number, 48, 64) for number in range(good)]

    def attack(each: Attack) -> str | None:
        start = time.monotonic()
        if each.alone:
            with one_at_a_time:
                start = time.monotonic()
                status = each.send(server)
        else:
            status = each.send(server)
        if status is not None and status not in MAY_ANSWER:
            return f"{each.kind} {each.number} got {status}"
        if time.monotonic() - start > HANG:
            return f"{each.kind} {each.number} took more than {HANG:g} s"
        kinds[each.kind, status] += 1
        return None

    def ask(image: np.ndarray) -> str | None:
        answer = server.post(png(image))
        if answer.status != 200:
            return f"a good request got {answer.status}: {answer.body[:200]!r}"
        return (
            None if np.array_equal(answer.image, paced_labels(image)) else "a good request got a wrong mask"
        )

    kinds: Counter[tuple[str, int | None]] = Counter()
    assert ask(images[0]) is None
    memory = Memory(server.process.pid)
    memory.start()
    every = hostile // good
    with ThreadPoolExecutor(8) as pool:
        asked = []
        for number, each in enumerate(attacks(hostile, seed, f"/predictions/{server.model}")):
            asked.append(pool.submit(attack, each))
            if number % every == 0:
                asked.append(pool.submit(ask, images[number // every % good]))
        faults = [found for each in asked if (found := each.result())]
    memory.stop()
    print(f"seed {seed}: {sum(kinds.values())} hostile requests, {len(asked) - hostile} good ones")
    print(
        f"memory in MiB: {memory.first >> 20}, at most {memory.most >> 20}; "
        f"the bound is {bound(2) + memory.first >> 20}"
    )
    print(*sorted(Counter(f"{kind}: {status}" for kind, status in kinds.elements()).items()), sep="\n")
    assert not faults, f"SEGPLUG_SEED={seed}: {faults}"
    assert memory.most <= memory.first + bound(2)
    assert server.ask("GET", "/ready").status == 200
    assert ask(images[-1]) is None
    assert server.stop() == 0
    log = server.log.read_text()
    assert "Traceback" not in log, log


@pytest.fixture
def attacked(paced) -> Running:
    if sys.platform != "linux":
        pytest.skip("the memory of processes is read from /proc")
    return paced(
        0.0,
        "--max-bytes", str(LIMITS.bytes),
        "--max-pixels", str(LIMITS.pixels),
        "--max-decoded", str(LIMITS.decoded),
    )  # fmt: skip


@pytest.mark.slow
def test_a_sample_of_hostile_requests(attacked):
    survives(attacked, 100, 20, SEED)


@pytest.mark.nightly
def test_a_thousand_hostile_requests(attacked):
    survives(attacked, 1000, 200, SEED)

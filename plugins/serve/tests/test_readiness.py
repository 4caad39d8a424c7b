"""What the pool of readers says about itself, with processes that are made up."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from segplug_serve import readers as module
from segplug_serve.memory import Pool
from segplug_serve.metrics import Metrics
from segplug_serve.reader_process import Refusal

from segplug.errors import EngineError
from segplug.model import ModelMeta
from segplug.serving.answers import Answer
from segplug.serving.requests import Limits


class Fake:
    """A process that refuses every image when ``go`` is set."""

    def __init__(self, settings: object) -> None:
        if self.broken:
            raise EngineError("a reader process cannot be started: no memory")
        self.killed = threading.Event()
        self.has_ended = False

    broken = False
    go = threading.Event()

    def ask(self, *given: object) -> Refusal:
        while not self.go.wait(0.01):
            if self.killed.is_set():
                raise EOFError
        return Refusal(400, "no image")

    def kill(self) -> None:
        self.killed.set()

    def wait(self) -> int:
        return -9

    took_too_long = staticmethod(lambda code: False)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    kind = type("Fake", (Fake,), {"go": threading.Event()})
    monkeypatch.setattr(module, "ReaderProcess", kind)
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.05)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.05)
    return kind


def _readers(count: int = 1) -> module.Readers:
    meta = ModelMeta(name="m", classes=("a", "b"), out_channels=2)
    return module.Readers(
        count, timeout=1, limits=Limits(), meta=meta, images=Pool(1000), metrics=Metrics("m", "b")
    )


def test_readers_that_cannot_be_started_stop_the_server(fake):
    fake.broken = True

    async def run() -> None:
        await _readers().start()

    with pytest.raises(EngineError, match="no memory"):
        asyncio.run(run())


def test_readers_that_cannot_be_replaced_are_named_until_they_can(fake):
    async def run() -> None:
        readers = _readers()
        await readers.start()
        asked = asyncio.ensure_future(readers.read(b"x", ""))
        await _until(lambda: readers.busy == 1)
        fake.broken = True
        readers.kill()
        await _until(lambda: bool(readers.failure))
        assert readers.running == 0
        assert "no memory" in readers.failure
        fake.broken = False
        fake.go.set()
        answer = await asyncio.wait_for(asked, 60)
        assert isinstance(answer, Answer)
        assert answer.status == 400
        assert (readers.running, readers.failure) == (1, "")
        await readers.stop()

    asyncio.run(run())


def test_readers_that_decode_nothing_are_blocked(fake):
    """Also if each of them is ended and replaced again and again."""

    async def run() -> None:
        readers = _readers(2)
        await readers.start()
        assert readers.blocked_seconds == 0
        asked = [asyncio.ensure_future(readers.read(b"x", "")) for _ in range(3)]
        await _until(lambda: readers.busy == 2)
        await asyncio.sleep(0.2)
        assert readers.blocked_seconds >= 0.2
        assert readers.waiting == 1
        asked[0].cancel()  # its process is ended, and its place taken by the third
        await _until(lambda: readers.waiting == 0 and readers.busy == 2)
        assert readers.blocked_seconds >= 0.2
        fake.go.set()
        await asyncio.gather(*asked, return_exceptions=True)
        await _until(lambda: readers.busy == 0)
        assert readers.blocked_seconds == 0
        await readers.stop()

    asyncio.run(run())


async def _until(true) -> None:
    for _ in range(6000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not become true within a minute")


def test_a_reader_is_not_believed():
    """A stranger may get hold of the process through a decoder."""
    from segplug_serve.reader_process import ReaderProcess

    for shape, dtype in (([1 << 20, 1 << 20, 3], "|u1"), ([2, 2, 0], "|u1"), ([2, 2, 3], "|O")):
        header = {"status": 200, "shape": shape, "dtype": dtype, "masked": False}
        with pytest.raises(ValueError):
            ReaderProcess.ask(_writes(header), b"", "", Limits())


def _writes(header: dict[str, object]) -> SimpleNamespace:
    import os

    from segplug_serve.frames import write_frame

    replies, theirs = os.pipe()
    write_frame(theirs, header)
    os.close(theirs)
    return SimpleNamespace(_requests=os.open(os.devnull, os.O_WRONLY), _replies=replies)


def test_frames_that_are_cut_off_are_no_frames():
    import os

    from segplug_serve.frames import read_exactly, read_header, write_all, write_frame

    theirs, ours = os.pipe()
    write_frame(ours, {"size": 3}, np.arange(3, dtype=np.uint8))
    write_all(ours, b"\0\0\0\x09{")
    os.close(ours)
    assert read_header(theirs) == {"size": 3}
    assert bytes(read_exactly(theirs, bytearray(3))) == b"\0\1\2"
    with pytest.raises(EOFError):
        read_header(theirs)
    os.close(theirs)

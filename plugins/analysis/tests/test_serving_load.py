"""``analyze serving`` under load: other clients' masks, failed requests, the time inside the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from analysis_support.serving_toys import (
    CONFIG,
    SMALL,
    WEIGHTS,
    analyze,
    serve,
    table,
    with_mask,
    write_pictures,
)
from segplug_analysis.serving.masks import Masks

from segplug.api import Segplug
from segplug.engine import Engine
from segplug.serving.answers import Answer, refusal
from segplug.serving.client import decode_mask


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    session = Segplug()
    model = session.load_model(CONFIG, checkpoint=WEIGHTS, cfg_options=SMALL)
    with session.open(model, backend="pytorch", threads=1) as opened:
        yield opened


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return write_pictures(tmp_path / "pictures")


FIRST = 3
"""Requests before the load: one for the first mask of each image."""


@pytest.mark.parametrize("same_size", [True, False], ids=["same-size", "other-size"])
def test_another_clients_mask_is_detected(engine: Engine, tmp_path: Path, same_size: bool) -> None:
    files = write_pictures(tmp_path)
    if same_size:
        for shift, file in enumerate(files):
            image = np.roll(cv2.imread(str(files[0])), 25 * shift, axis=1)
            file = file.with_suffix(".png")
            cv2.imwrite(str(file), image)
        files = sorted(tmp_path.glob("*.png"))
    last: dict[bytes, Answer] = {}
    swapped = []

    def swap(number: int, body: bytes, answer: Answer) -> Answer:
        last[body] = answer
        others = [other for sent, other in sorted(last.items()) if sent != body]
        if number < len(files) or number % 5:
            return answer
        swapped.append(number)
        return others[0]

    with serve(engine, change_answer=swap) as served:
        report = analyze(served, files, compared=False, concurrency=(4,), requests=24)

    assert swapped
    (row,) = table(report, "Latency and throughput")
    assert row["other mask"] == len(swapped)
    changes = table(report, "Masks that changed")
    assert sum(change["replies"] for change in changes) == len(swapped)
    assert all(change["finding"].startswith("have the mask of ") for change in changes)
    assert len(report.failures) == len(changes)
    assert "under load" in report.failures[0]
    assert sum(one["replies"] for each in report.data["images"] for one in each["other_masks"]) == len(
        swapped
    )


def test_a_mask_that_changes_a_little_is_counted_and_compared_with_pytorch(
    engine: Engine, images: list[Path]
) -> None:
    def change(labels: Any) -> Any:
        labels = labels.copy()
        labels[0, :2] = (labels[0, :2] + 1) % 8
        return labels

    def sometimes(number: int, body: bytes, answer: Answer) -> Answer:
        return with_mask(answer, change) if number == FIRST + 3 else answer

    reports = []
    for compared in (False, True):
        with serve(engine, change_answer=sometimes) as served:
            reports.append(analyze(served, images, compared=compared))

    for report in reports:
        (row,) = table(report, "Masks that changed")
        assert (row["replies"], row["pixels that differ"]) == (1, 2)
        assert table(report, "Latency and throughput")[0]["other mask"] == 1
    # Two pixels may be rounding; only PyTorch's logits show that they are not.
    assert not reports[0].failures
    assert len(reports[1].failures) == 1
    assert "away from near-ties" in reports[1].failures[0]
    assert all(one["agreement"]["share"] == 1 for one in reports[1].data["images"])


def test_a_limited_number_of_different_masks_is_kept(engine: Engine, images: list[Path]) -> None:
    def other(number: int, body: bytes, answer: Answer) -> Answer:
        return with_mask(answer, lambda labels: np.full_like(labels, number))

    with serve(engine, change_answer=other) as served:
        report = analyze(served, images[:1], compared=False, requests=30)
    assert table(report, "Latency and throughput")[0]["other mask"] == 31
    assert len(table(report, "Masks that changed")) == 8
    assert "23 replies to 0.png: other masks, too many" in report.failures[-1]


def test_another_encoding_of_the_same_mask_is_no_other_mask(engine: Engine, images: list[Path]) -> None:
    def encoded(number: int, body: bytes, answer: Answer) -> Answer:
        labels = decode_mask(answer.body, "toy")
        level = [cv2.IMWRITE_PNG_COMPRESSION, number % 10]
        return Answer(200, bytes(cv2.imencode(".png", labels, level)[1]), "image/png", answer.headers)

    with serve(engine, change_answer=encoded) as served:
        report = analyze(served, images, compared=False, requests=20)
    assert table(report, "Latency and throughput")[0]["other mask"] == 0
    assert not report.failures


def test_failed_requests_are_counted_by_status_and_listed(engine: Engine, images: list[Path]) -> None:
    def busy(number: int, body: bytes, answer: Answer) -> Answer:
        if number < FIRST or number % 3:
            return answer
        return refusal(503, "busy") if number % 2 else Answer(200, b"<html>", "text/html")

    with serve(engine, change_answer=busy) as served:
        report = analyze(served, images, compared=False, concurrency=(2,), requests=20, warmup=2)

    (row,) = table(report, "Latency and throughput")
    errors = {one["status"]: one for one in table(report, "Requests that failed")}
    wanted = range(FIRST, FIRST + 4 + 20)  # with the warm-up
    assert errors["503"]["requests"] == sum(n % 3 == 0 and n % 2 == 1 for n in wanted)
    assert errors["503"]["reason"] == "busy"
    assert errors["200"]["requests"] == sum(n % 6 == 0 for n in wanted)
    assert "no label mask" in errors["200"]["reason"]
    assert row["failed"] == sum(one["requests"] for one in errors.values())
    (level,) = report.data["levels"]
    assert len(level["times_ms"]) == row["answered"] < 20
    assert any(failure == "with 2 clients, 4 of 24 requests: 503: busy" for failure in report.failures)


def test_a_level_without_answers_is_stopped(engine: Engine, images: list[Path]) -> None:
    def hang(number: int, body: bytes, answer: Answer) -> Answer:
        if number >= FIRST + 2:
            time.sleep(1)
        return answer

    with serve(engine, change_answer=hang) as served:
        start = time.monotonic()
        report = analyze(
            served, images, compared=False, concurrency=(2,), requests=500, warmup=0, timeout=0.3
        )
        waited = time.monotonic() - start
    assert waited < 60  # 500 requests that nobody answers would be 75 s
    (level,) = report.data["levels"]
    assert level["stopped_early"]
    assert level["requests"] < 10
    assert {one["status"] for one in level["errors"]} == {None}
    assert "timed out" in level["errors"][0]["reason"]
    assert "was stopped" in report.failures[-1]


def test_a_level_without_any_answer_has_no_latency(engine: Engine, images: list[Path]) -> None:
    with serve(
        engine, change_answer=lambda n, b, a: a if n < FIRST else refusal(500, "the model failed")
    ) as served:
        report = analyze(served, images, compared=False)
    (row,) = table(report, "Latency and throughput")
    assert (row["answered"], row["failed"], row["p50 ms"]) == (0, 7, None)
    assert report.data["levels"][0]["latency_ms"] is None
    assert report.failures == ("with 1 client, 7 of 7 requests: 500: the model failed",)


def test_overhead_is_the_time_that_the_server_does_not_report(engine: Engine, images: list[Path]) -> None:
    times = 'decode;dur=0.1, model;dur=0.2, process;dur=0.3, encode;dur=0.4, batch;desc="3"'

    def slow(number: int, body: bytes, answer: Answer) -> Answer:
        time.sleep(0.02)
        return Answer(200, answer.body, answer.content_type, {"Server-Timing": times})

    with serve(engine, change_answer=slow) as served:
        report = analyze(served, images, compared=False)

    (row,) = table(report, "Time inside the server (medians, ms)")
    assert [row[part] for part in ("decode", "model", "process", "encode")] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4]
    )
    assert row["overhead"] == pytest.approx(row["at the client"] - 1)
    assert row["overhead"] >= 19
    assert row["mean batch"] == 3
    assert report.data["levels"][0]["batches"] == {"3": 6}
    assert any("batch sizes that the server ran: 3" in note for note in report.notes)


def test_batches_are_seen(engine: Engine, images: list[Path]) -> None:
    """Four clients whose first images wait for one another make a batch of several."""
    with serve(engine, batch_size=4) as served:
        report = analyze(served, images[:1], compared=False, concurrency=(4,), requests=16, warmup=0)
    sizes = {int(size) for size in report.data["levels"][0]["batches"]}
    assert max(sizes) > 1
    assert not report.failures


@pytest.mark.parametrize("header", [None, 'app;dur=47.2;desc="all"', "db;dur=53, total"])
def test_a_server_that_does_not_report_its_times(
    engine: Engine, images: list[Path], header: str | None
) -> None:
    def silent(number: int, body: bytes, answer: Answer) -> Answer:
        headers = {} if header is None else {"Server-Timing": header}
        return Answer(200, answer.body, answer.content_type, headers)

    with serve(engine, change_answer=silent) as served:
        report = analyze(served, images, compared=False)
    assert not table(report, "Time inside the server (medians, ms)")
    assert report.data["levels"][0]["inside_ms"] is None
    assert any("overhead and model time cannot be told apart" in note for note in report.notes)


def test_the_clients_of_a_level_send_different_images_at_the_same_time(
    engine: Engine, images: list[Path]
) -> None:
    """Every request waits until all clients have sent one."""
    together = threading.Barrier(3)

    def wait(number: int, body: bytes, answer: Answer) -> Answer:
        if number >= FIRST:
            together.wait(timeout=20)
        return answer

    with serve(engine, change_answer=wait) as served:
        report = analyze(served, images, compared=False, concurrency=(3,), requests=9, warmup=3)
    assert report.data["levels"][0]["answered"] == 9
    under_load = served.bodies[FIRST:]
    assert [len(set(under_load[start : start + 3])) for start in range(0, 18, 3)] == [3] * 6


def test_a_note_says_that_one_image_cannot_show_swapped_masks(engine: Engine, images: list[Path]) -> None:
    with serve(engine) as served:
        one, several = (analyze(served, some, compared=False, requests=1) for some in (images[:1], images))
    assert [any("cannot be detected" in note for note in report.notes) for report in (one, several)] == [
        True,
        False,
    ]


def test_a_defect_in_a_client_ends_the_run(
    engine: Engine, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Masks, index: int, body: bytes) -> int:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Masks, "position", broken)
    with serve(engine) as served, pytest.raises(RuntimeError, match="a defect"):
        analyze(served, images, compared=False, concurrency=(4,))

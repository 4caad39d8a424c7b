"""``analyze serving``: the comparison of served masks with PyTorch's, and the messages of errors."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from analysis_support.serving_toys import (
    CONFIG,
    NAME,
    SMALL,
    WEIGHTS,
    analyze,
    serve,
    table,
    with_mask,
    write_pictures,
)
from segplug_analysis.serving.drawing import difference_map

from segplug.api import Segplug
from segplug.cli.root import run_command_line
from segplug.engine import Engine
from segplug.errors import DatasetError, EngineError, UsageError
from segplug.model import Provenance
from segplug.results import Screen
from segplug.serving.answers import Answer, png, refusal


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    session = Segplug()
    model = session.load_model(CONFIG, checkpoint=WEIGHTS, cfg_options=SMALL)
    with session.open(model, backend="pytorch", threads=1) as opened:
        yield opened


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return write_pictures(tmp_path / "pictures")


def test_the_command_passes_a_correct_server(
    engine: Engine, images: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page, sheets = tmp_path / "page.html", tmp_path / "sheets"
    with serve(engine) as served:
        code = run_command_line(
            [
                *("run", "analyze", "serving", "--url", served.address, "--model-name", NAME),
                *("--image", *map(str, images), "--config", str(CONFIG), "--checkpoint", str(WEIGHTS)),
                *("--cfg-options", "data.test.pipeline.1.img_scale=(64,32)", "--threads", "1"),
                *("--concurrency", "1", "2", "--requests", "8", "--warmup", "2", "--token", "secret"),
                *("--html", str(page), "--csv", str(sheets), "--json"),
            ]
        )

    shown = capfd.readouterr()
    assert code == 0, shown.err
    found = json.loads(shown.out)
    assert found["failures"] == []
    assert found["url"] == served.url
    assert [one["name"] for one in found["images"]] == ["0.png", "1.jpg", "2.png"]
    for one in found["images"]:
        agreement = one["agreement"]
        assert agreement["share"] == 1
        assert (agreement["pixels"], agreement["pixels_differing"]) == (one["height"] * one["width"], 0)
    one, two = found["levels"]
    assert (one["clients"], one["requests"], one["answered"]) == (1, 10, 8)
    assert (two["clients"], two["requests"], two["answered"]) == (2, 12, 8)
    for level in (one, two):
        times = level["times_ms"]
        assert len(times) == 8
        for name, share in (("p50", 50), ("p90", 90), ("p95", 95), ("p99", 99), ("maximum", 100)):
            assert level["latency_ms"][name] == pytest.approx(np.percentile(times, share))
        assert level["latency_ms"]["mean"] == pytest.approx(np.mean(times))
        assert level["images_per_second"] == pytest.approx(8 / level["seconds"])
    # The files are sent unchanged, over connections that stay open: one for the metadata and the first
    # masks, then one for each client.
    assert set(served.bodies) == {file.read_bytes() for file in images}
    assert len(served.bodies) == 3 + 10 + 12
    assert served.connections == 1 + 1 + 2
    assert served.tokens == {"Bearer secret"}
    assert "secret" not in shown.out + shown.err + page.read_text()
    assert page.read_text().count("data:image/jpeg;base64,") == 3
    rows = (sheets / "requests.csv").read_text().splitlines()
    assert len(rows) == 1 + 10 + 12
    assert "all first masks are equal to PyTorch's" in shown.err
    assert "the server runs on the same machine" in shown.err


def test_an_onnx_file_is_compared_at_the_images_own_size(images: list[Path], tmp_path: Path) -> None:
    session = Segplug()
    model = session.load_model(CONFIG, checkpoint=WEIGHTS, cfg_options=SMALL)
    reports = {}
    for kind in ("logits", "labels"):
        made = session.export(
            "onnx", model, output=tmp_path / f"{kind}.onnx", shape=(32, 64), output_kind=kind
        )
        with session.open(made, backend="onnxruntime", threads=1) as opened, serve(opened) as served:
            reports[kind] = analyze(served, images[:1])

    (row,) = table(reports["logits"], "Agreement with PyTorch")
    assert (row["height x width"], row["away from near-ties"], row["passed"]) == ("40x80", 0, True)
    assert not reports["logits"].failures
    # Resized labels differ from PyTorch's, and a note says what to do.
    (row,) = table(reports["labels"], "Agreement with PyTorch")
    assert row["away from near-ties"] > 0
    assert reports["labels"].failures
    hint = "export the file with --output-kind logits"
    assert [any(hint in note for note in report.notes) for report in reports.values()] == [False, True]


@pytest.mark.data
@pytest.mark.slow
def test_real_weights_on_real_images_agree_at_every_pixel(data_dir: Path, tmp_path: Path) -> None:
    name = "fcn_m-v2-d8_480x360_camvid"
    config, weights = (data_dir / "models" / f"{name}.{end}" for end in ("py", "pth"))
    pngs = sorted((data_dir / "camvid" / "test").glob("*.png"))[:2]
    jpeg = next((data_dir / "camvid_train" / "train").glob("*.jpg"))
    session = Segplug()
    model = session.load_model(config, checkpoint=weights)
    with session.open(model, backend="pytorch", threads=1) as opened, serve(opened) as served:
        report = analyze(
            served, [*pngs, jpeg], config=str(config), checkpoint=str(weights), cfg_options=None, requests=3
        )
    assert not report.failures
    for one in report.data["images"]:
        assert one["agreement"]["pixels"] == 360 * 480
        assert one["agreement"]["pixels_differing"] == 0


def test_one_wrong_pixel_fails_and_is_shown(
    engine: Engine, images: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    (row, column), second = _surest_pixel(engine, images[1]), images[1].read_bytes()

    def wrong(number: int, body: bytes, answer: Answer) -> Answer:
        def change(labels: Any) -> Any:
            labels = labels.copy()
            labels[row, column] = (labels[row, column] + 1) % 8
            return labels

        return with_mask(answer, change) if body == second else answer

    with serve(engine, change_answer=wrong) as served:
        report = analyze(served, images, pictures=1)

    rows = {one["image"]: one for one in table(report, "Agreement with PyTorch")}
    assert {name: one["pixels"] for name, one in rows.items()} == {
        "0.png": 0,
        "1.jpg": 1,
        "2.png": 0,
    }
    assert rows["1.jpg"]["away from near-ties"] == 1
    assert (rows["0.png"]["passed"], rows["1.jpg"]["passed"]) == (True, False)
    assert report.failures
    assert all(failure.startswith("the mask of 1.jpg: ") for failure in report.failures)
    (figure,) = report.figures  # only the worst image
    assert figure.title == "1.jpg: 1 of 3,840 pixels differ"
    where = "".join(figure.text(Screen(80, colour=False)).splitlines()[1:])
    assert len(where) - where.count("·") == 1
    picture = cv2.imdecode(np.frombuffer(figure.draw(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 1200


def _surest_pixel(engine: Engine, file: Path) -> tuple[int, int]:
    """The pixel with the largest difference between the two largest logits."""
    from segplug.runtime.preprocess import Preprocessor
    from segplug.runtime.reading import read_image

    image = read_image(file, engine.spec.meta.decoding)
    array = Preprocessor(engine.spec.meta, engine.spec)(image, "x").array
    logits = np.sort(np.asarray(engine.run(array[None])[0]), axis=0)
    margin = cv2.resize(logits[-1] - logits[-2], image.shape[1::-1])
    row, column = np.unravel_index(int(margin.argmax()), margin.shape)
    return int(row), int(column)


def test_failures_are_told_and_set_the_exit_code(
    engine: Engine, images: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serve(
        engine, change_answer=lambda number, body, answer: with_mask(answer, lambda labels: 7 - labels)
    ) as served:
        code = run_command_line(
            [
                *("run", "analyze", "serving", "--url", served.url, "--image", *map(str, images)),
                *("--config", str(CONFIG), "--checkpoint", str(WEIGHTS), "--threads", "1"),
                *("--concurrency", "1", "--requests", "1", "--html", str(tmp_path / "page.html")),
            ]
        )
    shown = capfd.readouterr()
    assert code == 1
    assert "FAILED: the mask of 0.png: " in shown.out
    assert "pixels differ, at these places:" in shown.out
    assert "█" in shown.out
    assert "Traceback" not in shown.err
    assert "the mask of 0.png" in (tmp_path / "page.html").read_text()


def test_without_a_config_the_server_is_measured_and_a_note_says_so(
    engine: Engine, images: list[Path]
) -> None:
    with serve(engine) as served:
        report = analyze(served, images, compared=False)
    assert report.data["reference"] is None
    assert not table(report, "Agreement with PyTorch")
    assert not report.figures
    assert not report.failures
    assert table(report, "Latency and throughput")[0]["answered"] == 6
    assert any("the server is only measured" in note for note in report.notes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": tuple("abcdefgh")}, "other classes"),
        ({"classes": tuple("abc"), "palette": ()}, "the server's model has 3 classes"),
        ({"provenance": Provenance(checkpoint_sha256="1" * 64)}, "made from other weights than"),
    ],
)
def test_another_model_than_the_servers_is_warned_of(
    engine: Engine, images: list[Path], changes: dict[str, Any], said: str
) -> None:
    with serve(engine, meta=engine.spec.meta.replace(**changes)) as served:
        report = analyze(served, images[:1], requests=1)
    (warning,) = [note for note in report.notes if note.startswith("warning:")]
    assert said in warning
    assert not report.failures  # the masks are those of the same weights


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda n, b, a: with_mask(a, lambda labels: labels[::2, ::2]),
            "the server's mask of 0.png is 20x40",
        ),
        (lambda n, b, a: refusal(415, "no such pictures here"), "0.png with 415: no such pictures here"),
        (lambda n, b, a: Answer(200, b"<html>", "text/html"), "something that is no label mask"),
        (lambda n, b, a: None, "cannot be reached"),
    ],
    ids=["small", "refused", "no-mask", "gone"],
)
def test_a_server_without_a_first_mask_is_one_line(
    engine: Engine, images: list[Path], change: Any, said: str
) -> None:
    with serve(engine, change_answer=change) as served, pytest.raises(EngineError) as caught:
        analyze(served, images, compared=False)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_hangs_is_a_timeout(engine: Engine, images: list[Path]) -> None:
    def hang(number: int, body: bytes, answer: Answer) -> Answer:
        time.sleep(2)
        return answer

    with serve(engine, change_answer=hang) as served, pytest.raises(EngineError, match="timed out"):
        analyze(served, images, compared=False, timeout=0.2)


def test_a_wrong_model_name_and_an_absent_server_are_told(engine: Engine, images: list[Path]) -> None:
    with serve(engine) as served, pytest.raises(EngineError, match="404 Model not found: nobody"):
        analyze(served, images, compared=False, url=served.address, model_name="nobody")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/predictions/{NAME}"
    with pytest.raises(EngineError, match="cannot be reached"):
        Segplug().analyze("serving", url=url, image=(images[0],))


def test_a_file_that_is_no_image_is_an_error_before_any_is_sent(
    engine: Engine, images: list[Path], tmp_path: Path
) -> None:
    text, bands = tmp_path / "a.jpg", tmp_path / "bands.npy"
    text.write_text("no picture")
    np.save(bands, np.zeros((8, 8, 4), np.uint16))
    with serve(engine) as served:
        with pytest.raises(DatasetError, match=r"a\.jpg is text, not an image"):
            analyze(served, [images[0], text])
        with pytest.raises(DatasetError, match=r"bands\.npy has 4 channels.*3"):
            analyze(served, [images[0], bands])
    assert served.bodies == []
    with pytest.raises(UsageError, match=r"there is no image file .*b\.jpg"):
        Segplug().analyze("serving", url="http://127.0.0.1:9/predictions/x", image=(tmp_path / "b.jpg",))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image": ()}, "--image"),
        ({"url": None}, "no server is named"),
        ({"url": "127.0.0.1:8080", "model_name": "m"}, "is not the address of a server"),
        ({"config": "c.py"}, "both the config and its weights"),
        ({"config": "no.py", "checkpoint": "no.pth"}, "there is no file no.py"),
        ({"concurrency": (1, 8), "requests": 4}, "8 clients cannot share 4 requests"),
    ],
)
def test_wrong_options(images: list[Path], options: dict[str, Any], said: str) -> None:
    asked = {"url": "http://127.0.0.1:9/predictions/x", "image": tuple(images), **options}
    with pytest.raises(UsageError) as caught:
        Segplug().analyze("serving", **asked)
    assert said in str(caught.value)


def test_a_subject_is_refused(images: list[Path]) -> None:
    with pytest.raises(UsageError, match="takes no SUBJECT"):
        Segplug().analyze("serving", images[0], url="http://h:1/predictions/x")


def test_a_map_of_differences_shows_every_pixel() -> None:
    differs = np.zeros((256, 512), bool)
    differs[255, 511] = True
    differs[:64, :64] = True
    lines = difference_map(differs).splitlines()
    assert (len(lines), len(lines[0])) == (12, 48)
    assert lines[0] == "█" * 6 + "·" * 42
    assert lines[-1] == "·" * 47 + "░"
    assert difference_map(np.ones((1, 3), bool)) == "███"


def test_labels_beyond_the_palette_are_painted(engine: Engine, images: list[Path]) -> None:
    def beyond(number: int, body: bytes, answer: Answer) -> Answer:
        labels = np.full(cv2.imdecode(np.frombuffer(body, np.uint8), 1).shape[:2], 300, np.uint16)
        return Answer(200, png(labels), "image/png")

    with serve(engine, change_answer=beyond) as served:
        report = analyze(served, images[:1])
    assert report.data["images"][0]["agreement"]["share"] == 0
    assert report.figures[0].draw()[:2] == b"\xff\xd8"
    assert report.failures

"""The request handler: untrusted requests, each answered independently of the others."""

from __future__ import annotations

import base64
import io
import json
import textwrap
import zlib

import numpy as np
import pytest
from PIL import Image

from segplug.engine import Axis
from segplug.errors import DeviceError
from segplug.preprocessing import Resize
from segplug.progress import QuietReporter
from segplug.serving.answers import Answer
from segplug.serving.requests import Limits, Request
from segplug.serving.served_model import serving_warnings
from segplug.serving.service import Job, Service
from segplug.version import __version__
from tests.serving.conftest import META, bright, bright_engine, encoded, noise, pixels

IMAGE = noise()


def mask(answer) -> np.ndarray:
    assert answer.status == 200, answer.reason
    assert answer.content_type == "image/png"
    return pixels(answer.body)


def as_base64(image: np.ndarray) -> str:
    return base64.b64encode(encoded(image)).decode()


@pytest.mark.parametrize(
    "request_",
    [
        Request(encoded(IMAGE)),
        Request(encoded(IMAGE), "image/png"),
        Request(encoded(IMAGE), "application/octet-stream"),
        Request(encoded(IMAGE), "application/x-www-form-urlencoded"),
        Request(bytearray(encoded(IMAGE))),  # type: ignore[arg-type]
        Request(as_base64(IMAGE)),
        Request({"image": as_base64(IMAGE)}),
        Request({"image": {"b64": as_base64(IMAGE)}}),
        Request({"image": "\n".join(textwrap.wrap(as_base64(IMAGE), 76)) + "\r\n"}),
        Request({"data": "data:image/png;base64," + as_base64(IMAGE)}),
        Request(json.dumps({"image": as_base64(IMAGE)}).encode(), "application/json; charset=utf-8"),
    ],
)
def test_every_form_of_an_image_gives_its_mask(service, request_) -> None:
    (answer,) = service.answer([request_])
    assert np.array_equal(mask(answer), bright(IMAGE))
    assert "model;dur=" in answer.headers["Server-Timing"]


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises any size, and whose data is one short block."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        )

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    data = zlib.compress(bytes(1 << 16))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


RADIANCE = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 90000 +X 90000\n"

HOSTILE = {
    "nothing": (Request(None), 400, "no image"),
    "empty": (Request(b""), 400, "no image"),
    "no image": (Request(b"hello there"), 400, "is text, not an image"),
    "cut off": (Request(encoded(noise(64, 64))[:-200]), 400, "cut off"),
    "cut jpeg": (Request(encoded(noise(64, 64), ".jpg")[:-200]), 400, "cut off"),
    "bomb": (Request(png_of_size(16000, 16000)), 413, "more than 33554432 pixels"),
    "largest bomb": (Request(png_of_size(2**31 - 1, 2**31 - 1)), 413, "pixels"),
    "20,000 wide": (Request(encoded(np.zeros((4, 20000, 3), np.uint8))), 413, "edges of more than 16384"),
    "too many bytes": (Request(bytes((32 << 20) + 2000)), 413, "more than 33554432 bytes"),
    "too much base64": (Request("A" * (45 << 20)), 413, "bytes"),
    "text": (Request(encoded(IMAGE), "text/plain"), 415, "must be an image, .npy or JSON, not text/plain"),
    "no base64": (Request("~~~"), 400, "not valid base64"),
    "no JSON": (Request(b"{", "application/json"), 400, "not valid JSON"),
    "deep JSON": (Request(b"[" * 900, "application/json"), 400, "not valid JSON"),
    "JSON of half a character": (Request("\ud800", "application/json"), 400, "not valid JSON"),
    "JSON without image": (Request({"picture": ""}), 400, "the JSON must contain an image"),
    "JSON of lists": (Request(b"[1, 2]", "application/json"), 400, "the JSON must contain an image"),
    "nested for ever": (Request({"image": {"image": {"image": 3}}}), 400, "the JSON must contain an image"),
    "unknown output": (Request(encoded(IMAGE), output="video"), 400, "output must be one of mask"),
    "no opacity": (Request(encoded(IMAGE), output="painted", opacity="2"), 400, "opacity must be above 0"),
    "opacity nan": (Request(encoded(IMAGE), output="painted", opacity="nan"), 400, "opacity must be above 0"),
    "JSON of many parts": (
        Request(b"[" + b"[]," * 2000 + b"[]]", "application/json"),
        400,
        "too many values",
    ),
    "a netpbm that lies": (Request(b"P4\n16000#16000\n 5\n" + bytes(10000)), 400, "is a netpbm image"),
    "a radiance that lies": (
        Request(RADIANCE.ljust(2048) + b"PCD_" + bytes(4000)),
        400,
        "is a Radiance HDR image, and only",
    ),
    "a bitmap that is a PhotoCD": (Request(b"BM".ljust(2048, b"\0") + b"PCD_" + bytes(4000)), 400, "damaged"),
    "radiance": (
        Request(RADIANCE),
        400,
        "is a Radiance HDR image, and only",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_requests_are_refused_with_a_reason(service, kind) -> None:
    request, status, reason = HOSTILE[kind]
    (answer,) = service.answer([request])
    assert answer.status == status
    assert reason in answer.reason
    assert json.loads(answer.body) == {"code": status, "error": answer.reason}


def test_bad_images_in_a_batch_do_not_affect_the_others(service) -> None:
    images = [noise(20, 30), noise(33, 21, seed=1), noise(20, 30, seed=2)]
    good = [Request(encoded(image)) for image in images]
    bad = [request for request, _, _ in HOSTILE.values()]
    mixed = [good[0], *bad[:9], good[1], *bad[9:], good[2]]
    answers = service.answer(mixed)
    by_request = {id(request): answer for request, answer in zip(mixed, answers, strict=True)}
    for image, request in zip(images, good, strict=True):
        assert np.array_equal(mask(by_request[id(request)]), bright(image))
    for request, status, _ in HOSTILE.values():
        assert by_request[id(request)].status == status


def test_a_size_that_the_model_does_not_take_is_a_422() -> None:
    service = Service(bright_engine(height=Axis(8, 40)))
    small, large = service.answer([Request(encoded(IMAGE)), Request(encoded(noise(64, 32)))])
    assert np.array_equal(mask(small), bright(IMAGE))
    assert large.status == 422
    assert "the engine takes height 8..40" in large.reason


def test_an_error_of_the_model_reveals_no_details(caplog) -> None:
    engine = bright_engine()
    engine._function = lambda batch: 1 / 0
    (answer,) = Service(engine).answer([Request(encoded(IMAGE))])
    assert answer.status == 500
    assert "division" not in answer.reason
    assert "division by zero" in caplog.text


def test_a_model_without_memory_is_a_503() -> None:
    engine = bright_engine()

    def full(batch):
        raise DeviceError("out of memory on cuda:0")

    engine._function = full
    (answer,) = Service(engine).answer([Request(encoded(IMAGE))])
    assert answer.status == 503
    assert "cuda" not in answer.reason


def test_class_shares(service) -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:3] = 255
    (answer,) = service.answer([Request(encoded(image), output="json")])
    assert answer.content_type == "application/json"
    assert json.loads(answer.body) == {
        "model": "bright",
        "height": 10,
        "width": 10,
        "classes": [
            {"label": 0, "name": "low", "colour": [0, 0, 0], "pixels": 70, "share": 0.7},
            {"label": 1, "name": "high", "colour": [255, 0, 0], "pixels": 30, "share": 0.3},
        ],
    }


def test_a_painted_image(service) -> None:
    image = np.full((8, 8, 3), 200, np.uint8)
    (half, full) = service.answer(
        [
            Request(encoded(image), output="painted"),
            Request(encoded(image), output="PAINTED", opacity="1"),
        ]
    )
    assert (mask(half) == (100, 100, 227)).all()
    assert (mask(full) == (0, 0, 255)).all()


def test_a_mask_has_the_colours_in_its_palette_and_the_labels_as_its_values() -> None:
    service = Service(bright_engine(), palette=((10, 20, 30), (40, 50, 60)))
    image = np.zeros((10, 10, 3), np.uint8)
    image[:3] = 255
    as_mask, as_colours, listed = service.answer(
        [Request(encoded(image), output=output) for output in ("mask", "color", "json")]
    )
    with Image.open(io.BytesIO(as_mask.body)) as picture:
        assert (picture.mode, picture.getpixel((0, 0)), picture.getpixel((0, 9))) == ("P", 1, 0)
        shown = np.asarray(picture.convert("RGB"))
    assert shown[0, 0].tolist() == [40, 50, 60]
    assert shown[9, 0].tolist() == [10, 20, 30]
    assert np.array_equal(mask(as_colours)[:, :, ::-1], shown)
    assert [entry["colour"] for entry in json.loads(listed.body)["classes"]] == [[10, 20, 30], [40, 50, 60]]


def test_the_meta_needs_no_image(service) -> None:
    (answer,) = service.answer([Request(None, output="meta")])
    assert json.loads(answer.body) == {
        "meta": META.to_dict(),
        "facts": {what: list(lines) for what, lines in META.facts()},
        "backend": "bright",
        "legend": [
            {"label": 0, "name": "low", "colour": [0, 0, 0], "painted": True},
            {"label": 1, "name": "high", "colour": [255, 0, 0], "painted": True},
        ],
        "multilabel": False,
        "unknown_label": 255,
        "limits": {"bytes": 32 << 20, "pixels": 1 << 25, "edge": 16384, "decoded": 1 << 28},
        "segplug": __version__,
    }


def test_labels_beyond_a_byte_are_kept() -> None:
    meta = META.replace(classes=tuple(f"c{index}" for index in range(300)), palette=(), out_channels=300)
    engine = bright_engine(meta)
    engine._function = lambda batch: np.eye(300, dtype=np.float32)[
        np.full((len(batch), *batch.shape[2:]), 299)
    ].transpose(0, 3, 1, 2)
    (answer,) = Service(engine).answer([Request(encoded(IMAGE))])
    found = mask(answer)
    assert found.dtype == np.uint16
    assert (found == 299).all()


def test_limits_can_be_set() -> None:
    service = Service(bright_engine(), limits=Limits(bytes=100, pixels=100, edge=20))
    small = Request(encoded(np.zeros((10, 10, 3), np.uint8)))
    wide = Request(encoded(np.zeros((4, 24, 3), np.uint8)))
    many = Request(encoded(np.zeros((11, 11, 3), np.uint8)))
    long = Request(bytes(2000))
    assert [answer.status for answer in service.answer([small, wide, many, long])] == [200, 413, 413, 413]


def test_a_narrow_image_that_preprocessing_makes_huge_is_refused_when_it_is_read() -> None:
    least = Resize((2048, 512), "inside", min_size=512)
    meta = META.replace(preprocessing=(least, *META.preprocessing))
    narrow, usual = (Request(encoded(np.zeros((*size, 3), np.uint8))) for size in ((1, 16384), (24, 32)))
    service = Service(bright_engine(meta), limits=Limits(pixels=20000))
    refused = service.read(narrow)
    assert isinstance(refused, Answer)
    assert refused.status == 413
    assert "is 16384x1, and preprocessing would make it 8388608x512: more than 33554432" in refused.reason
    assert isinstance(service.read(usual), Job)  # also if it becomes larger than the limit of a request
    fixed = Service(bright_engine(meta, height=Axis.fixed(8), width=Axis.fixed(8)))
    assert [answer.status for answer in fixed.answer([narrow])] == [200]


def test_that_images_are_stretched_is_said_once_and_only_if_one_is() -> None:
    reporter = QuietReporter()
    engine = bright_engine(height=Axis.fixed(24), width=Axis.fixed(32))
    assert serving_warnings(engine.spec) == []
    service = Service(engine, reporter=reporter)
    for size, warnings in (((24, 32), 0), ((16, 48), 1), ((8, 8), 1)):
        (answer,) = service.answer([Request(encoded(np.zeros((*size, 3), np.uint8)))])
        assert answer.status == 200
        assert len(reporter.warnings) == warnings


@pytest.mark.parametrize("output", ["mask", "json", "painted", "confidence"])
def test_scores_that_are_no_numbers_are_an_error_of_this_image_alone(output) -> None:
    engine, sound, bad = bright_engine(), np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    usual = engine._function

    def function(batch):
        scores = usual(batch).astype(np.float32)
        scores[batch.max(axis=(1, 2, 3)) > 0.99, 0, 0, :3] = np.nan
        return scores

    engine._function = function
    requests = [Request(encoded(image), output=output) for image in (sound, bad, sound)]
    answers = Service(engine, batch_size=4).answer(requests)
    assert [answer.status for answer in answers] == [200, 500, 200]
    assert "NaN or infinite scores for 3 of the 64 pixels of the image in the request" in answers[1].reason
    assert "--" not in answers[1].reason, "a client has no flags"

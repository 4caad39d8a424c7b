"""The handler without a server: an archive unpacked as TorchServe does it, and TorchServe's own context."""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import subprocess
import sys

import cv2
import numpy as np
import pytest
from segplug_torchserve.handler import Handler
from torchserve_support.packing import labels_of, mask_of, pictures, png_of, unpacked
from ts.context import Context, RequestProcessor

from segplug.errors import ArtifactError


def context_of(folder, *, batch_size=1, gpu=None):
    return Context("m", str(folder), {}, batch_size, gpu, "0.12.0")


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    return unpacked(store / "onnx.mar", tmp_path_factory.mktemp("unpacked"))


@pytest.fixture
def handler(folder):
    made = Handler()
    made.initialize(context_of(folder, batch_size=4))
    yield made
    made.close()


def answered(handler, folder, *rows, headers=None):
    """Bodies, statuses and headers of a batch."""
    context = context_of(folder)
    headers = headers or [{} for _ in rows]
    context.request_processor = [RequestProcessor(each) for each in headers]
    bodies = handler.handle(list(rows), context)
    assert len(bodies) == len(rows)
    assert all(isinstance(body, bytes) for body in bodies)
    indices = range(len(rows))
    return (
        bodies,
        [context.get_response_status(i) for i in indices],
        [context.get_response_headers(i) for i in indices],
    )


PICTURE = png_of(pictures()[0])
TEXT = base64.b64encode(PICTURE).decode()


@pytest.mark.parametrize(
    ("row", "headers"),
    [
        ({"body": bytearray(PICTURE)}, {"Content-Type": "image/png"}),
        ({"body": bytearray(PICTURE)}, {}),
        ({"data": bytearray(PICTURE)}, {"data": {"content-type": "image/png"}}),
        ({"picture": bytearray(PICTURE)}, {"picture": {"content-type": "application/octet-stream"}}),
        ({"note": "mine", "image": bytearray(PICTURE)}, {}),
        ({"body": {"image": TEXT}}, {"content-type": "application/json"}),
        ({"body": {"image": {"b64": TEXT}}}, {"Content-Type": "application/json; charset=utf-8"}),
        ({"body": {"instances": [{"data": TEXT}]}}, {"content-type": "application/json"}),
        ({"body": {"instances": [TEXT]}}, {"content-type": "application/json"}),
        ({"data": TEXT}, {}),
        ({"field": TEXT}, {"field": {"content-type": "text/plain"}}),
        ({"field": TEXT.encode()}, {"field": {"content-type": "text/plain"}}),
        ({"image": bytearray(TEXT.encode())}, {"content-type": "application/x-www-form-urlencoded"}),
        ({"field": f"data:image/png;base64,{TEXT}"}, {"field": {"content-type": "text/plain"}}),
    ],
)
def test_every_form_of_an_image_gives_its_mask(handler, folder, onnx_file, row, headers):
    bodies, statuses, answers = answered(handler, folder, row, headers=[headers])
    assert statuses == [(200, "OK")]
    assert answers[0]["content-type"] == "image/png"
    assert 'batch;desc="1"' in answers[0]["Server-Timing"]
    (expected,) = labels_of(onnx_file, pictures()[:1], backend="onnxruntime")
    assert np.array_equal(mask_of(bodies[0]), expected)


@pytest.mark.parametrize(
    ("row", "headers", "status", "words"),
    [
        ({}, {}, 400, "no image"),
        ({"body": bytearray()}, {"content-type": "image/png"}, 400, "no image"),
        ({"body": bytearray(b"junk")}, {}, 400, "image"),
        ({"body": bytearray(b"{nope")}, {"content-type": "application/json"}, 400, "JSON"),
        ({"body": {"image": "%%%"}}, {"content-type": "application/json"}, 400, "base64"),
        ({"body": [1, 2]}, {"content-type": "application/json"}, 400, "JSON"),
        ({"body": 7}, {"content-type": "application/json"}, 400, "JSON"),
        ({"body": None}, {"content-type": "application/json"}, 400, "no image"),
        ({"body": {"instances": [TEXT, TEXT]}}, {"content-type": "application/json"}, 400, "one image"),
        ({"body": {"instances": "x"}}, {"content-type": "application/json"}, 400, "one image"),
        ({"body": bytearray(PICTURE)}, {"content-type": "video/mp4"}, 415, "video/mp4"),
        ({"body": "words"}, {"content-type": "text/html"}, 415, "text/html"),
        ({"a": bytearray(PICTURE), "b": bytearray(PICTURE)}, {}, 400, "'image'"),
        ({"body": bytearray(PICTURE)}, {"x-segplug-output": "magic"}, 400, "magic"),
        ({"body": bytearray(PICTURE), "output": bytearray(b"\xff\xfe")}, {}, 400, "output"),
        (
            {"body": bytearray(PICTURE)},
            {"x-segplug-output": "painted", "x-segplug-opacity": "7"},
            400,
            "opacity",
        ),
    ],
)
def test_invalid_requests_are_refused_with_a_reason(handler, folder, row, headers, status, words):
    bodies, statuses, answers = answered(handler, folder, row, headers=[headers])
    assert statuses[0][0] == status
    assert statuses[0][1].isascii()
    assert answers[0]["content-type"] == "application/json"
    assert words in json.loads(bodies[0])["error"]


def test_a_batch_of_all_sizes_and_kinds_is_answered_one_by_one(handler, folder, onnx_file):
    images = pictures()
    good = [{"body": bytearray(png_of(image))} for image in images]
    rows = [good[0], {"body": bytearray(b"x")}, good[1], {}, good[2], good[3], good[4]]
    bodies, statuses, answers = answered(handler, folder, *rows)
    assert [status for status, _ in statuses] == [200, 400, 200, 400, 200, 200, 200]
    expected = labels_of(onnx_file, images, backend="onnxruntime")
    for index, labels in zip([0, 2, 4, 5, 6], expected, strict=True):
        assert np.array_equal(mask_of(bodies[index]), labels)
        assert 'batch;desc="5"' in answers[index]["Server-Timing"]


def test_the_output_is_chosen_by_headers_and_fields(handler, folder):
    body = {"body": bytearray(PICTURE)}
    rows = [body, {**body, "output": bytearray(b"json")}, body, {"output": bytearray(b"meta")}, {}]
    asked = [
        {"X-Segplug-Output": "painted", "X-SEGPLUG-OPACITY": "1"},
        {"X-Segplug-Output": "painted"},
        {"x-segplug-output": "JSON"},
        {},
        {"describe": "True"},
    ]
    bodies, statuses, answers = answered(handler, folder, *rows, headers=asked)
    assert [status for status, _ in statuses] == [200] * 5
    painted = cv2.imdecode(np.frombuffer(bodies[0], np.uint8), cv2.IMREAD_UNCHANGED)
    assert painted.shape == pictures()[0].shape
    shares = [json.loads(body)["classes"] for body in bodies[1:3]]
    assert shares[0] == shares[1]
    assert sum(entry["share"] for entry in shares[0]) == pytest.approx(1)
    assert json.loads(bodies[3])["meta"]["classes"] == json.loads(bodies[4])["meta"]["classes"]
    assert [each["content-type"] for each in answers][3:] == ["application/json"] * 2


def test_an_error_in_one_request_does_not_affect_others(handler, folder, caplog):
    class Strange(dict):
        def __iter__(self):
            raise RuntimeError("no names")

    with caplog.at_level(logging.ERROR, "segplug.torchserve"):
        logging.getLogger("segplug").propagate = True
        bodies, statuses, _ = answered(handler, folder, Strange(), {"body": bytearray(PICTURE)})
    assert [status for status, _ in statuses] == [500, 200]
    assert "no names" not in bodies[0].decode()
    assert "no names" in caplog.text


def test_a_damaged_archive_is_named(store, tmp_path):
    folder = unpacked(store / "onnx.mar", tmp_path)
    (folder / "segplug-served.json").write_text('{"backend": "onnxruntime", "colour": 1}')
    with pytest.raises(ArtifactError, match=r"segplug-served\.json"):
        Handler().initialize(context_of(folder))


def test_the_gpu_that_torchserve_gives_is_the_device(folder, monkeypatch):
    asked = []

    def opened(_session, _folder, _served, *, device):
        asked.append(device)
        raise ArtifactError("enough")

    monkeypatch.setattr("segplug_torchserve.handler.open_served_model", opened)
    for gpu in (None, 0, 3):
        with pytest.raises(ArtifactError, match="enough"):
            Handler().initialize(context_of(folder, gpu=gpu))
    assert asked == [None, "cuda:0", "cuda:3"]  # without a GPU: the backend's own device


def test_the_engine_is_closed_when_the_worker_ends(folder):
    code = f"""
import segplug_onnx.engine as engine
close = engine.OnnxEngine.close
engine.OnnxEngine.close = lambda self: (print("closed"), close(self))
from segplug_torchserve.handler import Handler
from ts.context import Context
Handler().initialize(Context("m", {str(folder)!r}, {{}}, 1, None, "0"))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "closed" in ended.stdout


def test_a_server_without_segplug_says_what_to_install(folder):
    code = (
        "import sys; sys.modules['segplug_torchserve'] = None; sys.path.insert(0, sys.argv[1]); "
        "import segplug_handler"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "pip install 'segplug-torchserve[server]'" in ended.stderr


def test_torchserve_finds_one_class_in_the_archives_handler(folder):
    from ts.utils.util import list_classes_from_module

    spec = importlib.util.spec_from_file_location("segplug_handler", folder / "segplug_handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert [found.__name__ for found in list_classes_from_module(module)] == ["Handler"]

"""The handler with images of five bands: masks are those of the same file without a server."""

from __future__ import annotations

import base64
import io
import json
import logging
import zipfile

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from segplug_torchserve.handler import Handler
from torchserve_support.bands import band_image, npy, save_bands
from torchserve_support.packing import mask_of, served_of, unpacked
from ts.context import Context, RequestProcessor

from segplug import Segplug
from segplug.engine import EngineSpec
from segplug.errors import UsageError
from segplug.model import ModelMeta
from segplug.preprocessing import Convert, Decoding
from segplug.runtime.postprocess import Prediction
from segplug.runtime.segment import Segmenter
from segplug.serving.service import Service
from segplug.testing import FunctionEngine


@pytest.fixture(scope="module")
def bands_file(tmp_path_factory):
    return save_bands(tmp_path_factory.mktemp("bands"))


@pytest.fixture(scope="module")
def prediction(bands_file) -> Prediction:
    with Segplug().open(bands_file, backend="onnxruntime", threads=1) as engine:
        (found,) = Segmenter(engine)([band_image()], confidence=True)
    assert len(np.unique(found.labels)) == 4, "a mask of few labels would prove little"
    return found


def _handler(bands_file, folder, **options) -> Handler:
    archive = Segplug().pack("torchserve", bands_file, folder=folder / "store", threads=1, **options).path
    handler = Handler()
    handler.initialize(Context("m", str(unpacked(archive, folder / "there")), {}, 1, None, "0.12.0"))
    return handler


@pytest.fixture(scope="module")
def handler(bands_file, tmp_path_factory):
    made = _handler(bands_file, tmp_path_factory.mktemp("handler"))
    yield made
    made.close()


def _answer(handler, row, headers=None) -> tuple[bytes, int]:
    context = Context("m", "", {}, 1, None, "0.12.0")
    context.request_processor = [RequestProcessor(headers or {})]
    (body,) = handler.handle([row], context)
    return body, context.get_response_status(0)[0]


def _tiff(image) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, image, photometric="minisblack", planarconfig="contig")
    return content.getvalue()


NPY, TIFF = npy(band_image()), _tiff(band_image())
TEXT = base64.b64encode(NPY).decode()


@pytest.mark.parametrize(
    ("row", "headers"),
    [
        ({"body": bytearray(NPY)}, {"content-type": "application/x-npy"}),
        ({"body": bytearray(NPY)}, {"content-type": "application/octet-stream"}),
        ({"body": bytearray(TIFF)}, {"content-type": "image/tiff"}),
        ({"image": bytearray(TIFF)}, {"image": {"content-type": "image/tiff"}}),
        ({"data": bytearray(NPY)}, {}),
        ({"body": {"image": {"b64": TEXT}}}, {"content-type": "application/json"}),
    ],
)
def test_every_form_of_an_image_gives_its_mask(handler, prediction, row, headers):
    body, status = _answer(handler, row, headers)
    assert status == 200, body
    assert np.array_equal(mask_of(body), prediction.labels)


def test_a_tiff_in_a_form_may_look_like_text(handler):
    """All of its bytes may be below 128: it is an image nevertheless, and has other channels here."""
    content = io.BytesIO()
    Image.fromarray(np.full((4, 4), 7, np.uint8)).save(content, "TIFF")
    assert content.getvalue().isascii()
    body, status = _answer(handler, {"image": bytearray(content.getvalue())})
    assert (status, "the network takes 5" in json.loads(body)["error"]) == (400, True)


def test_probabilities_unknown_labels_and_bands(handler, prediction):
    body, _ = _answer(handler, {"body": bytearray(NPY)}, {"X-Segplug-Output": "confidence"})
    found = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16
    assert np.abs(found / 65535 - prediction.confidence).max() < 1e-5
    unsure = prediction.confidence < 0.7
    assert 0.05 < unsure.mean() < 0.95
    for row, headers in (
        ({}, {"X-Segplug-Unknown-Below": "0.7"}),
        ({"unknown_below": bytearray(b"0.7")}, {}),
    ):
        body, _ = _answer(handler, {"body": bytearray(NPY), **row}, headers)
        assert np.array_equal(mask_of(body), np.where(unsure, 255, prediction.labels))
    asked = {"X-Segplug-Output": "painted", "X-Segplug-Bands": "9"}
    body, status = _answer(handler, {"body": bytearray(NPY)}, asked)
    assert (status, "band 9" in json.loads(body)["error"]) == (400, True)


def test_settings_of_the_archive(bands_file, prediction, tmp_path, caplog):
    logging.getLogger("segplug").propagate = True
    with caplog.at_level(logging.WARNING, "segplug.torchserve"):
        handler = _handler(bands_file, tmp_path, unknown_below=0.7, max_decoded=20_000)
    assert "test-time augmentation (views: 2) is left out" in caplog.text
    archive = tmp_path / "store" / "bands.mar"
    with zipfile.ZipFile(archive) as file:
        assert "tifffile==" in file.read("segplug-requirements.txt").decode()
    served = served_of(archive)
    assert (served["unknown_below"], served["limits"]["decoded"]) == (0.7, 20_000)
    assert _answer(handler, {"body": bytearray(NPY)})[1] == 413
    small = band_image()[:20, :30]
    expected, _ = _answer(handler, {"body": bytearray(npy(small))}, {"X-Segplug-Unknown-Below": "0"})
    body, _ = _answer(handler, {"body": bytearray(npy(small))})
    assert 0 < (mask_of(body) == 255).mean() < 1
    assert not np.any(mask_of(expected) == 255)
    handler.close()


def test_unknown_labels_need_scores(model, tmp_path):
    labels = Segplug().export("onnx", model, output=tmp_path / "labels.onnx", output_kind="labels").path
    with pytest.raises(UsageError, match="--unknown-below needs the scores"):
        Segplug().pack("torchserve", labels, folder=tmp_path / "store", unknown_below=0.5)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("form", ["npy", "tiff"])
def test_no_value_of_a_file_is_cast_to_fewer_bits(dtype, form):
    """What the network receives is compared with the values themselves."""
    rng = np.random.default_rng(0)
    image = (rng.standard_normal((9, 14, 5)) * 3000).astype(dtype) if dtype.startswith("f") else None
    if image is None:
        limits = np.iinfo(dtype)
        image = rng.integers(limits.min, limits.max, (9, 14, 5), dtype=dtype, endpoint=True)
    received = []

    def network(batch):
        received.extend(batch.copy())
        return np.zeros((len(batch), 2, *batch.shape[2:]), np.float32)

    meta = ModelMeta(
        "m",
        classes=("a", "b"),
        out_channels=2,
        in_channels=5,
        decoding=Decoding.for_channels(5),
        preprocessing=(Convert(),),
    )
    handler = Handler()
    handler._service = Service(FunctionEngine(EngineSpec(meta, "logits", backend="test"), network))
    content = npy(image) if form == "npy" else _tiff(image)
    text = base64.b64encode(content).decode()
    rows = [
        {"body": bytearray(content)},
        {"image": bytearray(content)},
        {"data": text.encode()},
        {"body": {"image": text}},
    ]
    for row in rows:
        body, status = _answer(handler, row)
        assert status == 200, body
    assert len(received) == len(rows)
    for found in received:
        np.testing.assert_array_equal(found, image.transpose(2, 0, 1).astype(np.float32))
